/** A chat server of our own: the page, the models, and answers that come in whatever pieces, at whatever speed and with whatever trouble a test asks for. */
import { readFileSync } from "node:fs";

export interface ChatRequest {
  readonly path: string;
  readonly authorization: string | null;
  readonly messages?: readonly { readonly role: string; readonly content: string }[];
  readonly prompt?: string;
  readonly [setting: string]: unknown;
}

export interface ChatScript {
  models: readonly { readonly id: string; readonly chat_template: boolean }[];
  /** The pieces of the next answers. */
  answer: (request: ChatRequest) => Iterable<string>;
  finish: "stop" | "length";
  /** Milliseconds between two pieces. */
  pause: number;
  /** Ends the stream after this many pieces, without a word. */
  breakAfter: number;
  /** Says this in the stream, after its pieces. */
  complaint: string;
  /** Answers the next request with this. */
  failure: { readonly status: number; readonly message: string; readonly retryAfter?: number } | null;
  /** Asked of every request. */
  key: string;
  /** Words of a prompt that fit. */
  context: number;
  /** Bytes in each piece of the body; 0 for whole events. */
  cut: number;
  /** The end of a line. */
  newline: string;
}

export interface FakeChatServer extends Disposable {
  readonly address: string;
  readonly script: ChatScript;
  readonly requests: ChatRequest[];
  /** How many answers their readers have left. */
  readonly left: () => number;
  /** Back to an obliging server. */
  reset(): void;
}

export const POLICY =
  "default-src 'none'; connect-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const obliging = (): ChatScript => ({
  models: [{ id: "tales-124m", chat_template: true }],
  answer: () => ["Hello", ", ", "you."],
  finish: "stop",
  pause: 0,
  breakAfter: Number.POSITIVE_INFINITY,
  complaint: "",
  failure: null,
  key: "",
  context: 1024,
  cut: 0,
  newline: "\n",
});

const refuse = (status: number, message: string, code: string | null = null, headers = {}) =>
  Response.json({ error: { message, type: "invalid_request_error", param: null, code } }, { status, headers });

const words = (text: string) => text.split(/\s+/).filter(Boolean).length;

export function fakeChatServer(): FakeChatServer {
  const script = obliging();
  const requests: ChatRequest[] = [];
  let left = 0;
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    idleTimeout: 60,
    async fetch(request) {
      const path = new URL(request.url).pathname;
      if (path === "/") {
        const headers = { "Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": POLICY };
        return new Response(readFileSync("src/server/page.html"), { headers });
      }
      const authorization = request.headers.get("authorization");
      if (script.key && authorization !== `Bearer ${script.key}`) return refuse(401, "No key, or a wrong one.");
      if (path === "/v1/models") return Response.json({ object: "list", data: script.models.map(listed) });
      const asked: ChatRequest = { path, authorization, ...((await request.json()) as object) };
      requests.push(asked);
      const { failure } = script;
      script.failure = null;
      if (failure) {
        const headers = failure.retryAfter === undefined ? {} : { "Retry-After": String(failure.retryAfter) };
        return refuse(failure.status, failure.message, null, headers);
      }
      const prompt = asked.prompt ?? asked.messages!.map(({ content }) => content).join(" ");
      if (words(prompt) > script.context) return refuse(400, "That is too long.", "context_length_exceeded");
      return new Response(stream(asked, words(prompt)), { headers: { "Content-Type": "text/event-stream" } });
    },
  });

  function listed({ id, chat_template }: ChatScript["models"][number]) {
    const facts = { object: "model", created: 1_700_000_000, owned_by: "dawngrad", context_length: 1024 };
    return { id, ...facts, chat_template, parameters: 124_439_808 };
  }

  function stream(asked: ChatRequest, promptTokens: number): ReadableStream {
    const parts = pieces(asked, promptTokens);
    return new ReadableStream({
      async pull(controller) {
        const { value, done } = await parts.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      cancel() {
        left++;
      },
    });
  }

  async function* pieces(asked: ChatRequest, promptTokens: number): AsyncGenerator<Uint8Array> {
    let tokens = 0;
    const { answer, finish, pause, breakAfter, complaint, newline, cut } = script;
    const bytes = function* (text: string) {
      const all = new TextEncoder().encode(text.replaceAll("\n", newline));
      for (let at = 0; at < all.length; at += cut || all.length) yield all.subarray(at, at + (cut || all.length));
    };
    const event = (data: object) => bytes(`data: ${JSON.stringify(data)}\n\n`);
    const choice = (text: string, finish_reason: string | null) =>
      asked.prompt === undefined
        ? { index: 0, delta: { content: text }, finish_reason }
        : { index: 0, text, finish_reason };
    yield* bytes(": keepalive\n\n");
    for (const piece of answer(asked)) {
      if (pause) await Bun.sleep(pause);
      if (tokens++ === breakAfter) return;
      yield* event({ choices: [choice(piece, null)] });
    }
    if (complaint) return yield* event({ error: { message: complaint } });
    // One event of several data lines, as the format allows.
    yield* bytes(`data: {"choices":\ndata: [${JSON.stringify(choice("", finish))}]}\n\n`);
    const usage = { prompt_tokens: promptTokens, completion_tokens: tokens, total_tokens: promptTokens + tokens };
    yield* event({ choices: [], usage });
    yield* bytes("data: [DONE]\n\n");
  }

  return {
    address: `http://127.0.0.1:${server.port}`,
    script,
    requests,
    left: () => left,
    reset() {
      Object.assign(script, obliging());
      requests.length = 0;
      left = 0;
    },
    [Symbol.dispose]: () => void server.stop(true),
  };
}
