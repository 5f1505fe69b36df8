/** A judge of our own behind a real server: it replies as a test says, and has whatever trouble the test asks for. */

export interface ShownPair {
  readonly prompt: string;
  readonly a: string;
  readonly b: string;
}

export type Trouble =
  | "busy"
  | "failing"
  | "stalls"
  | "stalls in its body"
  | "breaks off"
  | "HTML"
  | "half of JSON"
  | "another JSON"
  | "an error in a reply"
  | "no key"
  | "no model"
  | "no quota"
  | "too long"
  | "no max_tokens"
  | "no temperature";

export interface JudgeServer extends Disposable {
  readonly url: string;
  /** Bodies of all requests, in the order that they came. */
  readonly requests: readonly Readonly<Record<string, unknown>>[];
  /** When each of them came, in ms. */
  readonly begun: readonly number[];
}

export interface JudgeScript {
  readonly reply: (pair: ShownPair) => string | null;
  /** Of the request of this number, from 0. */
  readonly trouble?: (request: number, body: Readonly<Record<string, unknown>>) => Trouble | null;
  readonly finish?: string;
  /** Milliseconds before a reply. */
  readonly pause?: number;
  /** Of Retry-After. */
  readonly seconds?: string;
}

/** The pair that the default rubric shows. */
export function pairShown(text: string): ShownPair {
  const within = (tag: string) => new RegExp(`<${tag}>\n([\\s\\S]*?)\n</${tag}>`).exec(text)?.[1] ?? "";
  return { prompt: within("prompt"), a: within("answer-a"), b: within("answer-b") };
}

export function judgeServer({ reply, trouble, finish = "stop", pause = 0, seconds = "1" }: JudgeScript): JudgeServer {
  const requests: Record<string, unknown>[] = [];
  const begun: number[] = [];
  const refuse = (status: number, message: string, more: object = {}, headers: Record<string, string> = {}) =>
    Response.json({ error: { message, type: "error", param: null, code: null, ...more } }, { status, headers });
  const breaking = Bun.listen({
    port: 0,
    hostname: "127.0.0.1",
    socket: {
      data(socket) {
        socket.write('HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"choices": [');
        socket.end();
      },
    },
  });
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    idleTimeout: 30,
    async fetch(request) {
      if (new URL(request.url).pathname !== "/v1/chat/completions") return refuse(404, "There is nothing here.");
      const body = (await request.json()) as { messages: { content: string }[] } & Record<string, unknown>;
      const kind = trouble?.(requests.length, body) ?? null;
      requests.push(body);
      begun.push(performance.now());
      if (pause) await Bun.sleep(pause);
      const choice = {
        index: 0,
        message: { role: "assistant", content: reply(pairShown(body.messages[0]!.content)) },
        finish_reason: finish,
      };
      const whole = JSON.stringify({ id: "1", object: "chat.completion", choices: [choice] });
      const json = { headers: { "content-type": "application/json" } };
      switch (kind) {
        case "busy":
          return refuse(429, "Too many requests.", {}, { "retry-after": seconds });
        case "failing":
          return refuse(500, "The engine has failed.");
        case "stalls":
          await Bun.sleep(3000);
          return new Response(whole, json);
        case "stalls in its body":
          return new Response(
            new ReadableStream({
              start: (controller) => controller.enqueue(new TextEncoder().encode(whole.slice(0, whole.length >> 1))),
            }),
            json,
          );
        case "breaks off":
          return Response.redirect(`http://127.0.0.1:${breaking.port}/`, 307);
        case "HTML":
          return new Response("<html>Welcome</html>", { headers: { "content-type": "text/html" } });
        case "half of JSON":
          return new Response(whole.slice(0, whole.length >> 1), json);
        case "another JSON":
          return Response.json({ choices: [] });
        case "an error in a reply":
          return Response.json({ error: { message: "The provider is away.", code: 502 } });
        case "no key":
          return refuse(401, "Incorrect API key provided.");
        case "no model":
          return refuse(404, "There is no such model.");
        case "no quota":
          return refuse(429, "You exceeded your quota.", { code: "insufficient_quota" });
        case "too long":
          return refuse(400, "That is too long.", { code: "context_length_exceeded" });
        case "no max_tokens":
          return refuse(400, "Use max_completion_tokens.", { param: "max_tokens", code: "unsupported_parameter" });
        case "no temperature":
          return refuse(400, "Only 1 is supported.", { param: "temperature", code: "unsupported_value" });
        case null:
          return new Response(whole, json);
        default:
          throw new Error(`trouble ${kind satisfies never}`);
      }
    },
  });
  return {
    url: `http://127.0.0.1:${server.port}/v1`,
    requests,
    begun,
    [Symbol.dispose]() {
      void server.stop(true);
      breaking.stop(true);
    },
  };
}
