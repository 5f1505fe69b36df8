/** The HTTP server: who may ask, which path, and what becomes of it when it is to end or when the engine has failed. */
import type { Server } from "bun";
import { messageOf, reasonOf, UserError } from "../errors";
import { runner } from "../generate/scheduler";
import { tick } from "../tick";
import { jsonBody } from "./body";
import { guard, isLoopback } from "./guard";
import { newMetrics, prometheus } from "./metrics";
import page from "./page.html" with { type: "text" };
import { Refusal, refuse } from "./refusal";
import { chat, completion, modelObject, type Speakers } from "./routes";

export interface ServerOptions {
  readonly host: string;
  readonly port: number;
  readonly key: string | null;
  readonly cors: readonly string[];
  /** Seconds that a request may take in all. */
  readonly seconds: number;
  readonly bodyBytes: number;
  /** Seconds within which a request's body must have come. */
  readonly bodySeconds: number;
  /** Told what has ended the engine, after every open request was told. */
  readonly fault: (error: unknown) => void;
  /** Told what has failed for one request, and is nobody's mistake but ours. */
  readonly bug: (error: unknown) => void;
}

export interface Serving {
  readonly address: string;
  /** Takes no more requests, and ends when those that it has are answered, at the latest after so many seconds. */
  drain(seconds: number): Promise<void>;
  stop(): Promise<void>;
}

const PAGE_POLICY =
  "default-src 'none'; connect-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** More is never read into memory, whatever a client says of it. */
const MOST_EVER = 1 << 30;

export function serve(speakers: Speakers, options: ServerOptions): Serving {
  const { host, port, key, cors, seconds, bodyBytes, bodySeconds } = options;
  if (key === null && !isLoopback(host))
    throw new UserError(`${host} can be reached by others, and there is no key`, {
      hint: "give one with --key, or by DAWNGRAD_KEY",
      exitCode: 2,
    });
  const metrics = newMetrics();
  const doors = guard({ host, key, cors });
  const created = Math.floor(Date.now() / 1000);
  let draining = false;
  let faulted = false;
  let open = 0;
  const running = runner(
    speakers.map(({ queue }) => queue),
    tick,
    (error) => {
      faulted = true;
      options.fault(error);
    },
  );
  const around = {
    metrics,
    wake: running.wake,
    seconds,
    failed(error: unknown) {
      if (!(error instanceof Refusal) && !running.faulted) options.bug(error);
    },
  };
  const gauges = () => {
    const sum = (of: (speaker: Speakers[0]) => number) => speakers.reduce((total, one) => total + of(one), 0);
    return {
      running: sum(({ queue }) => queue.running),
      waiting: sum(({ queue }) => queue.waiting),
      slots: sum(({ queue }) => queue.slots),
    };
  };
  const health = () => {
    if (faulted) return refuse(new Refusal(503, "the engine has failed", { code: "engine_failed" }));
    if (draining) return refuse(new Refusal(503, "the server is ending", { code: "draining" }));
    return Response.json({ status: "ok" });
  };

  const asking =
    (what: typeof chat) =>
    async (request: Request, server: Server<undefined>): Promise<Response> => {
      if (faulted) throw new Refusal(503, "the engine has failed", { code: "engine_failed" });
      if (draining) throw new Refusal(503, "the server is ending", { code: "draining", retryAfter: 5 });
      const body = await jsonBody(request, { bytes: bodyBytes, seconds: bodySeconds });
      // Answers take as long as they take: their own limit is `seconds`.
      server.timeout(request, 0);
      return what(request, body, speakers, around);
    };
  const get: Readonly<Record<string, (request: Request) => Response>> = {
    "/": () =>
      new Response(page as unknown as string, {
        headers: {
          "content-type": "text/html; charset=utf-8",
          "content-security-policy": PAGE_POLICY,
          "x-content-type-options": "nosniff",
          "referrer-policy": "no-referrer",
          "cache-control": "no-cache",
        },
      }),
    "/health": health,
    "/metrics": () =>
      new Response(prometheus(metrics, gauges()), {
        headers: { "content-type": "text/plain; version=0.0.4; charset=utf-8" },
      }),
    "/v1/models": () =>
      Response.json({ object: "list", data: speakers.map((speaker) => modelObject(speaker, created)) }),
  };
  const post: Readonly<Record<string, ReturnType<typeof asking>>> = {
    "/v1/chat/completions": asking(chat),
    "/v1/completions": asking(completion),
  };
  const ONE_MODEL = "/v1/models/";

  const route = async (request: Request, server: Server<undefined>): Promise<Response> => {
    const path = new URL(request.url).pathname.replace(/(?<=.)\/+$/, "");
    doors.check(request, path === "/" || path === "/health");
    const reads = request.method === "GET" || request.method === "HEAD";
    if (Object.hasOwn(get, path)) {
      if (!reads) throw new Refusal(405, `${path} is read by GET`);
      return get[path]!(request);
    }
    if (path.startsWith(ONE_MODEL) && reads) {
      const name = decoded(path.slice(ONE_MODEL.length));
      const speaker = speakers.find((one) => one.name === name);
      if (speaker) return Response.json(modelObject(speaker, created));
      throw new Refusal(404, `there is no model ${name}`, { param: "model", code: "model_not_found" });
    }
    if (Object.hasOwn(post, path)) {
      if (request.method !== "POST") throw new Refusal(405, `${path} is asked by POST`);
      return post[path]!(request, server);
    }
    throw new Refusal(404, `there is nothing at ${path.slice(0, 100)}`, { code: "unknown_path" });
  };

  const answered = async (request: Request, server: Server<undefined>): Promise<Response> => {
    open++;
    try {
      const preflight = request.method === "OPTIONS" ? doors.preflight(request) : null;
      const response = preflight ?? (await route(request, server));
      return withHeaders(response, doors.headers(request));
    } catch (error) {
      if (!(error instanceof Refusal || error instanceof UserError)) options.bug(error);
      return withHeaders(refuse(error), doors.headers(request));
    } finally {
      open--;
    }
  };

  let server: Server<undefined>;
  try {
    server = Bun.serve({
      hostname: host,
      port,
      maxRequestBodySize: MOST_EVER,
      idleTimeout: 30,
      fetch: answered,
      error: (error) => {
        options.bug(error);
        return refuse(error);
      },
    });
  } catch (error) {
    throw cannotListen(error, host, port);
  }
  const idle = () => open === 0 && gauges().running + gauges().waiting === 0;
  return {
    address: `http://${host.includes(":") && !host.startsWith("[") ? `[${host}]` : host}:${server.port}`,
    async drain(limit) {
      draining = true;
      const until = performance.now() + 1000 * limit;
      while (!idle() && performance.now() < until) await Bun.sleep(20);
      await server.stop(!idle());
    },
    stop: () => server.stop(true),
  };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function withHeaders(response: Response, more: Readonly<Record<string, string>>): Response {
  for (const [name, value] of Object.entries(more)) response.headers.set(name, value);
  return response;
}

function cannotListen(error: unknown, host: string, port: number): UserError {
  const { code } = error as { code?: string };
  if (code === "EADDRINUSE")
    return new UserError(`port ${port} of ${host} is in use`, {
      hint: "choose another with --port; 0 takes any",
      exitCode: 1,
    });
  const hints: Record<string, string> = { EACCES: "ports below 1024 need more rights: choose another with --port" };
  return new UserError(`the server cannot listen on ${host}:${port}: ${reasonOf(error) || messageOf(error)}`, {
    hint: hints[code ?? ""] ?? "give an address of this machine with --host",
  });
}
