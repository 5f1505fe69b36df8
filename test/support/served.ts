/** The real server in this process over small models, and what a client hears of it. */
import type { Speaker } from "../../src/app/speaker";
import type { Speakers } from "../../src/server/routes";
import { type ServerOptions, serve } from "../../src/server/server";
import { toySpeaker } from "./talking";

export interface Served extends AsyncDisposable {
  readonly address: string;
  readonly speaker: Speaker;
  /** What has ended the engine. */
  readonly faults: unknown[];
  /** What nobody asked for. */
  readonly bugs: unknown[];
  readonly drain: (seconds: number) => Promise<void>;
  post(path: string, body: unknown, init?: RequestInit): Promise<Response>;
  /** No slot is taken, and nobody waits. */
  idle(): Promise<void>;
}

export function served(
  speakers: Speakers = [toySpeaker({ slots: 4, queue: 8 })],
  options: Partial<ServerOptions> = {},
): Served {
  const faults: unknown[] = [];
  const bugs: unknown[] = [];
  const serving = serve(speakers, {
    host: "127.0.0.1",
    port: 0,
    key: null,
    cors: [],
    seconds: 30,
    bodyBytes: 1e6,
    bodySeconds: 5,
    fault: (error) => faults.push(error),
    bug: (error) => bugs.push(error),
    ...options,
  });
  const [speaker] = speakers;
  return {
    address: serving.address,
    speaker,
    faults,
    bugs,
    drain: serving.drain,
    post: (path, body, init = {}) =>
      fetch(serving.address + path, {
        method: "POST",
        body: typeof body === "string" || body instanceof Uint8Array ? (body as string) : JSON.stringify(body),
        ...init,
      }),
    async idle() {
      const until = performance.now() + 5000;
      const busy = () => speakers.some(({ queue }) => queue.running + queue.waiting > 0);
      while (busy()) {
        if (performance.now() > until) throw new Error("a slot is still taken");
        await Bun.sleep(1);
      }
    },
    async [Symbol.asyncDispose]() {
      await serving.stop();
      for (const one of speakers) one[Symbol.dispose]();
    },
  };
}

export const CHAT = "/v1/chat/completions";
export const COMPLETIONS = "/v1/completions";
export const say = (content: unknown) => [{ role: "user", content }];

export interface Choice {
  readonly index: number;
  readonly delta?: { readonly role?: string; readonly content?: string };
  readonly message?: { readonly role: string; readonly content: string };
  readonly text?: string;
  readonly finish_reason: string | null;
  // biome-ignore lint/suspicious/noExplicitAny: two forms, which the tests tell apart
  readonly logprobs: any;
}

export interface Told {
  readonly id: string;
  readonly object: string;
  readonly model: string;
  readonly choices: readonly Choice[];
  readonly usage?: {
    readonly prompt_tokens: number;
    readonly completion_tokens: number;
    readonly total_tokens: number;
  };
  readonly error?: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: string | null;
  };
}

export async function told(response: Response | Promise<Response>): Promise<Told> {
  return (await (await response).json()) as Told;
}

/** The events of a stream, all but [DONE], which must be the last. */
export async function eventsOf(response: Response | Promise<Response>): Promise<Told[]> {
  const given = await response;
  const text = await given.text();
  if (given.status !== 200) throw new Error(`${given.status}: ${text}`);
  const data = text
    .split("\n\n")
    .filter((event) => event.startsWith("data: "))
    .map((event) => event.slice(6));
  if (data.pop() !== "[DONE]") throw new Error(`no [DONE] at the end of ${text}`);
  return data.map((event) => JSON.parse(event) as Told);
}

/** All text of a choice of a stream. */
export function textOf(events: readonly Told[], index = 0): string {
  return events
    .flatMap(({ choices }) => choices.filter((choice) => choice.index === index))
    .map(({ delta, text }) => delta?.content ?? text ?? "")
    .join("");
}
