/**
 * The worker thread of module.ts: loads a module of the user's and asks it. In a thread of its own a module that never comes to an end can
 * be ended.
 */
import { messageOf } from "../errors";

export interface ModuleStart {
  readonly url: string;
  /** Its function, where another than `score` or `default` is meant. */
  readonly wanted: string | null;
}

export interface ModuleRequest {
  readonly messages: readonly unknown[];
  readonly answers: readonly string[];
  readonly columns: readonly unknown[];
}

export type ModuleReply =
  | { readonly ready: true }
  | { readonly values: unknown }
  /** `at`: which answer it was asked about, where it is asked one by one. */
  | { readonly failed: string; readonly at?: number };

type Judge = (...args: readonly unknown[]) => unknown;

declare const self: Worker;

const reply = (message: ModuleReply) => self.postMessage(message);

let ask: ((request: ModuleRequest) => Promise<ModuleReply>) | null = null;

self.onmessage = async ({ data }: MessageEvent<ModuleStart | ModuleRequest>) => {
  if ("url" in data) {
    try {
      ask = asking((await import(data.url)) as Readonly<Record<string, unknown>>, data.wanted);
      reply({ ready: true });
    } catch (error) {
      reply({ failed: messageOf(error) });
    }
    return;
  }
  reply(await ask!(data));
};

/** `score`, or the one that is wanted, is asked answer by answer; `default` with all at once. */
function asking(module: Readonly<Record<string, unknown>>, wanted: string | null) {
  const has = Object.keys(module).join(", ") || "nothing";
  const single = module[wanted ?? "score"];
  if (typeof single === "function") return oneByOne(single as Judge);
  if (wanted !== null) throw new Error(`it has no function ${wanted}: it has ${has}`);
  if (typeof module.default === "function") return together(module.default as Judge);
  throw new Error(
    `it has neither a default export, a function (prompts, completions, columns), nor a function score: it has ${has}`,
  );
}

function oneByOne(score: Judge) {
  return async ({ messages, answers, columns }: ModuleRequest): Promise<ModuleReply> => {
    const values: unknown[] = [];
    for (const [at, answer] of answers.entries()) {
      try {
        values.push(told(await score(messages[at], answer, columns[at])));
      } catch (error) {
        return { failed: messageOf(error), at };
      }
    }
    return { values };
  };
}

function together(score: Judge) {
  return async ({ messages, answers, columns }: ModuleRequest): Promise<ModuleReply> => {
    try {
      const values = await score(messages, answers, columns);
      return { values: Array.isArray(values) ? values.map(told) : told(values) };
    } catch (error) {
      return { failed: messageOf(error) };
    }
  };
}

/** As much of a value as can be sent. */
function told(value: unknown): unknown {
  return value === null || ["number", "string", "boolean", "undefined"].includes(typeof value) ? value : String(value);
}
