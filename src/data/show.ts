/** An example as the model sees it: what it is trained on stands out. */
import { styleText } from "node:util";
import type { Tokenizer } from "../text/tokenizer";
import type { Example } from "./examples";

export interface ShowOptions {
  /** Dims what is not trained; without colour what is trained stands between « and ». */
  readonly colour: boolean;
  /** Characters of the text that are shown. */
  readonly most?: number;
}

export function showExample(
  { ids, trained }: Example,
  tokenizer: Tokenizer,
  { colour, most = 1e9 }: ShowOptions,
): string {
  const stream = tokenizer.stream();
  const runs: { text: string; trained: boolean }[] = [];
  for (let from = 0, to = 0; from < ids.length; from = to) {
    let text = "";
    while (to < ids.length && trained[to] === trained[from]) text += stream.push(ids[to++]!);
    runs.push({ text: to < ids.length ? text : text + stream.end(), trained: trained[from] === 1 });
  }
  let left = most;
  const shown = runs.map(({ text, trained }) => {
    const part = text.slice(0, Math.max(0, left));
    left -= text.length;
    if (part === "") return "";
    if (colour) return trained ? part : styleText("dim", part, { validateStream: false });
    return trained ? `«${part}»` : part;
  });
  return shown.join("") + (left < 0 ? " ..." : "");
}
