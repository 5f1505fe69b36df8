/** End tokens that data has as letters: at the end of an answer they are its end, anywhere else plain text like other special tokens. */
import { type ChatTemplate, specialTexts } from "../text/template";
import type { Tokenizer } from "../text/tokenizer";
import type { Sample } from "./formats";

type Ends = Pick<ChatTemplate, "end">;

/** The sample without the ends of its answers, which are put behind them as they are encoded. */
export function withoutEnds<S extends Sample>(sample: S, tokenizer: Tokenizer, template: Ends): S {
  const { endOfText } = tokenizer;
  const ends = [endOfText === null ? null : tokenizer.token(endOfText), template.end?.text ?? null].filter(
    (end) => end !== null,
  );
  switch (sample.kind) {
    case "text":
      return { ...sample, text: without(sample.text, ends) };
    case "completion":
      return { ...sample, completion: without(sample.completion, ends) };
    case "messages": {
      const last = sample.messages.length - 1;
      const messages = sample.messages.map((message, i) =>
        message.role === "assistant" && (template.end !== null || i === last)
          ? { ...message, content: without(message.content, ends) }
          : message,
      );
      return { ...sample, messages };
    }
  }
}

/** What comes behind the end is left out too. */
function without(text: string, ends: readonly string[]): string {
  const bare = text.trimEnd();
  const end = ends.find((end) => bare.endsWith(end));
  return end === undefined ? text : without(bare.slice(0, -end.length), ends);
}

/** Whether the data ends a conversation that the template would leave open, and that end is to be learned. */
export function endsOpen(given: Sample, sample: Sample, { end }: Ends): boolean {
  if (end !== null || sample.kind !== "messages" || sample.unlearned?.includes(sample.messages.length - 1))
    return false;
  return textsOf(given).at(-1) !== textsOf(sample).at(-1);
}

/** The special tokens whose letters are in the text of a sample. */
export function specialsIn(sample: Sample, tokenizer: Tokenizer): string[] {
  const texts = textsOf(sample);
  return specialTexts(tokenizer).filter((special) => texts.some((text) => text.includes(special)));
}

function textsOf(sample: Sample): readonly string[] {
  switch (sample.kind) {
    case "text":
      return [sample.text];
    case "completion":
      return [sample.prompt, sample.completion];
    case "messages":
      return sample.messages.map(({ content }) => content);
  }
}
