/** Where prompts come from: a file of them, or standard input. */
import { readFileSync } from "node:fs";
import { UserError } from "../errors";
import { unreadable } from "../files";

/** Lines of {"prompt": "..."}; what else they have is given back with the answer. */
export function readPrompts(path: string): { readonly prompt: string }[] {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw unreadable(path, error);
  }
  const lines = text.split("\n").map((line, i) => ({ line, number: i + 1 }));
  return lines
    .filter(({ line }) => line.trim() !== "")
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
      return value as { prompt: string };
    });
}

/** One prompt, without the line end that a shell puts behind it. */
export async function standardInput(): Promise<string> {
  if (process.stdin.isTTY)
    throw new UserError("no prompt was given", {
      hint: 'give --prompt "Once upon a time", or text on standard input',
      exitCode: 2,
    });
  return (await Bun.stdin.text()).replace(/\n$/, "");
}
