/** Where prompts come from: a file of them, or standard input. */
import { spooled } from "../data/spool";
import { UserError } from "../errors";
import { MOST_TEXT_BYTES, readTextFile, textOf } from "../files";

export interface PromptLine {
  /** `file:line`. */
  readonly where: string;
  /** What the line says. What it has beside its prompt is given back with the answer. */
  readonly given: { readonly prompt: string };
}

/** Lines of {"prompt": "..."}. */
export async function readPrompts(path: string): Promise<PromptLine[]> {
  const text = readTextFile(await spooled(path), path, { most: MOST_TEXT_BYTES });
  if (text.trim() === "")
    throw new UserError(`${path} is empty`, { hint: 'give a line such as {"prompt": "Once"}', exitCode: 2 });
  const lines = text.split(/\r\n|\n|\r/).map((line, i) => ({ line: line.trim(), number: i + 1 }));
  return lines
    .filter(({ line }) => line !== "")
    .map(({ line, number }) => {
      const bad = new UserError(`${path}:${number}: expected an object with a prompt, such as {"prompt": "Once"}`, {
        exitCode: 2,
      });
      let value: unknown;
      try {
        value = JSON.parse(line);
      } catch {
        throw bad;
      }
      if (typeof (value as { prompt?: unknown } | null)?.prompt !== "string") throw bad;
      return { where: `${path}:${number}`, given: value as { prompt: string } };
    });
}

/** One prompt, without the line end that a shell puts behind it. */
export async function standardInput(): Promise<string> {
  if (process.stdin.isTTY)
    throw new UserError("no prompt was given", {
      hint: 'give --prompt "Once upon a time", or text on standard input',
      exitCode: 2,
    });
  return (await standardText()).replace(/\r?\n$/, "");
}

/** All of standard input. */
export async function standardText(): Promise<string> {
  return textOf(await Bun.stdin.bytes(), "standard input");
}
