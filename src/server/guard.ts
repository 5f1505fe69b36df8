/**
 * Who may ask. On loopback without a key any page in a browser could: so Host must be a loopback name (else another name could be made to
 * point here) and Origin must be ours. With a key the key decides. Other origins are let in only where they were named.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { Refusal } from "./refusal";

export interface GuardOptions {
  readonly host: string;
  readonly key: string | null;
  /** Origins that pages may ask from; "*" is any. */
  readonly cors: readonly string[];
}

const LOOPBACK = new Set(["localhost", "127.0.0.1", "[::1]", "::1"]);

export function isLoopback(host: string): boolean {
  return LOOPBACK.has(host) || /^127\.\d+\.\d+\.\d+$/.test(host);
}

export interface Guard {
  /** Throws a Refusal where a request is not let in. `open`: it needs no key. */
  check(request: Request, open: boolean): void;
  /** Headers for a page of another origin, on answers of every kind; none where that is not asked for. */
  headers(request: Request): Record<string, string>;
  /** The answer to a browser that asks first whether it may; null where pages of other origins may not. */
  preflight(request: Request): Response | null;
}

export function guard({ host, key, cors }: GuardOptions): Guard {
  const digest = (text: string) => createHash("sha256").update(text).digest();
  const wanted = key === null ? null : digest(key);
  const allows = (origin: string) => cors.includes("*") || cors.includes(origin);
  const headers = (request: Request): Record<string, string> => {
    const origin = request.headers.get("origin");
    if (cors.length === 0 || origin === null || !allows(origin)) return {};
    return {
      "access-control-allow-origin": cors.includes("*") ? "*" : origin,
      "access-control-expose-headers": "retry-after",
      ...(!cors.includes("*") && { vary: "Origin" }),
    };
  };
  return {
    headers,
    check(request, open) {
      const named = request.headers.get("host") ?? "";
      const origin = request.headers.get("origin");
      if (wanted === null && isLoopback(host) && !isLoopback(named.replace(/:\d+$/, "").toLowerCase()))
        throw new Refusal(403, "this server answers to loopback names alone", { code: "forbidden_host" });
      if (origin !== null && !allows(origin) && hostOf(origin) !== named.toLowerCase())
        throw new Refusal(403, "pages of other origins may not ask this server", { code: "forbidden_origin" });
      if (open || wanted === null) return;
      const [, given = ""] = /^Bearer +(.*)$/i.exec(request.headers.get("authorization") ?? "") ?? [];
      if (!timingSafeEqual(digest(given.trim()), wanted))
        throw new Refusal(401, given ? "the key is not the server's" : "a key is needed: Authorization: Bearer KEY", {
          code: "invalid_api_key",
        });
    },
    preflight(request) {
      const allowed = headers(request);
      if (Object.keys(allowed).length === 0) return null;
      return new Response(null, {
        status: 204,
        headers: {
          ...allowed,
          "access-control-allow-methods": "GET, POST, OPTIONS",
          "access-control-allow-headers":
            request.headers.get("access-control-request-headers") ?? "authorization, content-type",
          "access-control-max-age": "600",
        },
      });
    },
  };
}

function hostOf(origin: string): string | null {
  return URL.canParse(origin) ? new URL(origin).host : null;
}
