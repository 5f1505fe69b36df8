/** A request's answers: asked of the slots, told whole or as a stream of events, cancelled when the client has left. */
import { randomBytes, randomInt } from "node:crypto";
import { type Ended, type Speaker, say, type Wanted } from "../app/speaker";
import type { Job } from "../generate/scheduler";
import type { Choice, Form, Usage } from "./forms";
import { count, type Metrics, observe } from "./metrics";
import { errorBody, Refusal, refusalOf } from "./refusal";

export interface Asking {
  readonly speaker: Speaker;
  readonly form: Form;
  /** One for each answer. */
  readonly wanted: readonly Wanted[];
  /** Tokens of each prompt, counted once for all its answers. */
  readonly prompted: number;
  /** Put before every answer's text. */
  readonly echo: readonly string[];
  readonly stream: boolean;
  readonly includeUsage: boolean;
}

export interface Around {
  readonly metrics: Metrics;
  /** To be called once something was asked. */
  readonly wake: () => void;
  /** Seconds that a request may take in all. */
  readonly seconds: number;
  readonly failed: (error: unknown) => void;
}

/** Random unless it was given; whole numbers beyond 32 bits are folded. */
export function seedOf(given: number | undefined, index: number): number {
  const seed = given === undefined ? randomInt(2 ** 32) : Number(BigInt.asUintN(32, BigInt(given)));
  return (seed + index) >>> 0;
}

interface Telling {
  begun(): void;
  piece(index: number, text: string, tokens: Choice["tokens"]): void;
  end(index: number, reason: "stop" | "length"): void;
  done(usage: Usage): void;
  failed(error: unknown): void;
}

const KEEPALIVE_MS = 5000;

/** Throws a Refusal where it cannot be taken. */
export function answer(request: Request, asking: Asking, around: Around): Response | Promise<Response> {
  const { form, speaker, stream, wanted } = asking;
  const head = {
    id: `${form.prefix}-${randomBytes(12).toString("hex")}`,
    object: stream ? form.chunkObject : form.object,
    created: Math.floor(Date.now() / 1000),
    model: speaker.name,
    system_fingerprint: null,
  };
  if (wanted.length > speaker.queue.room) {
    throw new Refusal(429, `${speaker.queue.waiting} answers wait already, and no more may`, {
      code: "queue_full",
      retryAfter: Math.max(1, Math.min(30, Math.ceil(speaker.queue.waiting / speaker.queue.slots))),
    });
  }
  return stream ? streamed(request, asking, around, head) : whole(request, asking, around, head);
}

/** Asks for all answers. Returns what takes them back. */
function ask({ speaker, wanted, prompted }: Asking, { metrics, wake, seconds }: Around, telling: Telling): () => void {
  const start = performance.now();
  const since = (from: number) => (performance.now() - from) / 1000;
  const jobs = new Set<Job>();
  let left = wanted.length;
  let generated = 0;
  let cached = 0;
  let over = false;
  const close = () => {
    over = true;
    clearTimeout(timer);
    for (const job of jobs) job.cancel();
    jobs.clear();
  };
  const done = () => {
    close();
    observe(metrics.whole, since(start));
    telling.done({
      prompt_tokens: prompted,
      completion_tokens: generated,
      total_tokens: prompted + generated,
      prompt_tokens_details: { cached_tokens: cached },
    });
  };
  const fail = (error: unknown) => {
    if (over) return;
    close();
    count(metrics, "error");
    telling.failed(error);
  };
  const open = new Set<number>();
  const finish = (index: number, reason: Ended["reason"]) => {
    open.delete(index);
    count(metrics, reason);
    telling.end(index, reason);
    if (--left === 0) done();
  };
  const timer = setTimeout(() => {
    // What is written by now is an answer; what has not begun is none.
    if (open.size < left) fail(new Refusal(503, `no slot was free within ${seconds} s`, { retryAfter: 5 }));
    else for (const index of [...open]) finish(index, "length");
  }, 1000 * seconds);
  metrics.prompted.value += prompted;
  wanted.forEach((one, index) => {
    let last = 0;
    const job = say(speaker, one, {
      begun(kept) {
        open.add(index);
        if (index === 0) cached = kept;
        observe(metrics.queued, since(start));
        telling.begun();
      },
      token() {
        generated++;
        metrics.generated.value++;
        observe(last ? metrics.betweenTokens : metrics.firstToken, since(last || start));
        last = performance.now();
      },
      text: (text, tokens) => telling.piece(index, text, [...tokens]),
      ended: ({ reason }) => finish(index, reason),
      failed: fail,
    });
    if (job) jobs.add(job);
  });
  wake();
  return () => {
    if (over) return;
    close();
    count(metrics, "abort");
  };
}

function whole(request: Request, asking: Asking, around: Around, head: object): Promise<Response> {
  const { form, wanted, echo } = asking;
  const choices = wanted.map((_, i): Choice => ({ text: echo[i] ?? "", tokens: [], reason: null }));
  return new Promise((resolve, reject) => {
    const cancel = ask(asking, around, {
      begun() {},
      piece(index, text, tokens) {
        choices[index]!.text += text;
        choices[index]!.tokens.push(...tokens);
      },
      end(index, reason) {
        choices[index]!.reason = reason;
      },
      done(usage) {
        resolve(Response.json({ ...head, choices: choices.map((choice, i) => form.whole(i, choice)), usage }));
      },
      failed(error) {
        around.failed(error);
        reject(refusalOf(error));
      },
    });
    request.signal.addEventListener("abort", () => {
      cancel();
      // Nobody hears it.
      resolve(new Response(null, { status: 499 }));
    });
  });
}

function streamed(request: Request, asking: Asking, around: Around, head: object): Response {
  const { form, wanted, echo, includeUsage } = asking;
  const encoder = new TextEncoder();
  let cancel = () => {};
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      const write = (text: string) => controller.enqueue(encoder.encode(text));
      const event = (data: object) => write(`data: ${JSON.stringify(data)}\n\n`);
      const chunk = (choices: readonly object[], usage: Usage | null = null) =>
        event({ ...head, choices, ...(includeUsage && { usage }) });
      const keepalive = setInterval(() => write(": keepalive\n\n"), KEEPALIVE_MS);
      const close = () => {
        clearInterval(keepalive);
        request.signal.removeEventListener("abort", leave);
        controller.close();
      };
      const begin = () => {
        for (const [index] of wanted.entries()) {
          const first = form.first(index);
          if (first) chunk([first]);
          if (echo[index]) chunk([form.piece(index, { text: echo[index], tokens: [] })]);
        }
      };
      let begun = false;
      const stop = ask(asking, around, {
        begun() {
          if (!begun) begin();
          begun = true;
        },
        piece: (index, text, tokens) => chunk([form.piece(index, { text, tokens })]),
        end: (index, reason) => chunk([form.last(index, reason)]),
        done(usage) {
          if (includeUsage) chunk([], usage);
          write("data: [DONE]\n\n");
          close();
        },
        failed(error) {
          around.failed(error);
          event(errorBody(refusalOf(error)));
          close();
        },
      });
      const leave = () => {
        clearInterval(keepalive);
        stop();
      };
      cancel = leave;
      request.signal.addEventListener("abort", leave);
    },
    cancel: () => cancel(),
  });
  return new Response(body, {
    headers: {
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-cache",
      "x-accel-buffering": "no",
    },
  });
}
