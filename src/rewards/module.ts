/** A reward that is a TypeScript or JavaScript module of the user's, loaded at run time and asked in a thread of its own. */
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { UserError } from "../errors";
import { readTextFile } from "../files";
import { duration } from "../log/console";
import type { ModuleReply, ModuleRequest, ModuleStart } from "./module-worker";
import { type Answered, checkedScores, inputOf, type Reward } from "./reward";

/** In the executable all modules are one file at the root, beside which the worker lies under its path from src/. */
const workerUrl = new URL(
  import.meta.url.includes("$bunfs") ? "./rewards/module-worker.js" : "./module-worker.ts",
  import.meta.url,
);

export interface ModuleOptions {
  /** What its figures are called. */
  readonly name: string;
  readonly path: string;
  /** A function of it that is asked answer by answer; if absent `score`, else `default`, which is given all answers at once. */
  readonly wanted?: string | undefined;
  /** Seconds after which an answer is no longer waited for. */
  readonly timeout: number;
}

/** Throws a UserError where the module cannot be loaded, or has no such function. */
export async function moduleReward({ name, path, wanted, timeout }: ModuleOptions): Promise<Reward> {
  readTextFile(path, path, { hint: "give the path of a module" });
  const worker = new Worker(workerUrl);
  worker.unref();
  /** Why its thread is no more. */
  let gone: string | null = null;
  let failed: ((why: string) => void) | null = null;
  const end = (why: string) => {
    gone ??= why;
    failed?.(gone);
  };
  worker.onerror = ({ message }) => end(`failed: ${thrownIn(message)}`);
  worker.addEventListener("close", () => end("ended its thread, as process.exit does"));
  const start: ModuleStart = { url: pathToFileURL(resolve(path)).href, wanted: wanted ?? null };
  const loaded = await asked(start, `${path} is not loaded after ${duration(timeout)}`);
  if ("failed" in loaded) {
    worker.terminate();
    throw new UserError(`${path} cannot be used as a reward: ${loaded.failed}`, {
      hint: "export default (prompts, completions, columns) => a list of numbers and nulls, or score(messages, answer, columns)",
    });
  }
  return {
    name,
    async score(answers) {
      const request: ModuleRequest = {
        messages: answers.map(({ messages }) => messages),
        answers: answers.map(({ answer }) => answer),
        columns: answers.map(({ columns }) => columns),
      };
      const found = await asked(request, `the reward ${path} has not answered after ${duration(timeout)}`, answers);
      if ("failed" in found) {
        const { failed, at } = found;
        throw new UserError(`the reward ${path} threw: ${failed}`, { hint: inputOf(answers[at ?? 0]) });
      }
      return checkedScores("values" in found ? found.values : null, answers, `the reward ${path}`);
    },
    [Symbol.dispose]: () => worker.terminate(),
  };

  function asked(message: ModuleStart | ModuleRequest, late: string, answers: readonly Answered[] = []) {
    return new Promise<ModuleReply>((resolve, reject) => {
      // The timer keeps the program alive, which the worker does not.
      const timer = setTimeout(() => {
        worker.terminate();
        reject(
          new UserError(late, { hint: answers.length > 0 ? inputOf(answers[0]) : "it may be waiting for something" }),
        );
      }, 1000 * timeout);
      worker.onmessage = ({ data }: MessageEvent<ModuleReply>) => {
        clearTimeout(timer);
        resolve(data);
      };
      failed = (why) => {
        clearTimeout(timer);
        reject(
          new UserError(`the reward ${path} ${why}`, {
            hint: answers.length > 0 ? inputOf(answers[0]) : "it was being loaded",
          }),
        );
      };
      if (gone === null) worker.postMessage(message);
      else failed(gone);
    });
  }
}

/** What was thrown outside of an answer; Bun shows it beside the lines of the module. */
function thrownIn(message: string): string {
  return /^(?:\w*[eE]rror): (.*)$/m.exec(message)?.[1] ?? message;
}
