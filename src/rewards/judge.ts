/** A judge: a model behind any server of OpenAI's API, that is shown a pair of answers and replies in words. */
import OpenAI, { APIConnectionTimeoutError, APIError } from "openai";
import { z } from "zod";
import { messageOf, shown, UserError } from "../errors";
import { firstIssue } from "../files";
import { duration } from "../log/console";
import { PassingError, type Patience, patiently } from "./patience";

export interface JudgeOptions extends Patience {
  /** As the server knows the model. */
  readonly name: string;
  readonly url: string;
  readonly key: string;
  /** Seconds after which a reply is no longer waited for. */
  readonly timeout: number;
  /** Of a reply at most. */
  readonly tokens: number;
}

export interface Reply {
  readonly text: string;
  /** It ended for want of room. */
  readonly cut: boolean;
  /** Why there is none, where the server does not take this one text. */
  readonly problem?: string;
}

export interface Judge {
  /** Throws a UserError where it has failed for good. */
  ask(text: string): Promise<Reply>;
}

export const OPENAI_URL = "https://api.openai.com/v1";

/** An address as it is given: a server's alone, with its /v1, or down to the path that is asked. */
export function judgeUrl(given: string): string {
  if (!/^https?:\/\//.test(given) || !URL.canParse(given))
    throw new UserError(`${given} is no address`, { hint: "give one such as http://localhost:8080/v1", exitCode: 2 });
  const url = new URL(given);
  url.pathname = url.pathname.replace(/\/+$/, "").replace(/\/chat\/completions$/, "") || "/v1";
  return url.toString();
}

const replySchema = z.object({
  choices: z
    .array(
      z.object({
        message: z.object({ content: z.string().nullish() }),
        finish_reason: z.string().nullish(),
      }),
    )
    .min(1),
});

export function openJudge({ name, url, key, timeout, tokens, ...patience }: JudgeOptions): Judge {
  // Tries are counted in one place, which is ours.
  const client = new OpenAI({ baseURL: url, apiKey: key, timeout: 1000 * timeout, maxRetries: 0, logLevel: "off" });
  const trying = patiently(patience);
  const what = `the judge ${name} at ${url}`;
  // Reasoning models refuse both, and have another name for one of them.
  let limit: "max_tokens" | "max_completion_tokens" = "max_tokens";
  let greedy = true;

  const attempt = async (text: string): Promise<Reply> => {
    const asked = { limit, greedy };
    try {
      const reply: unknown = await client.chat.completions.create({
        model: name,
        messages: [{ role: "user", content: text }],
        [asked.limit]: tokens,
        ...(asked.greedy && { temperature: 0 }),
      });
      return replyOf(reply);
    } catch (error) {
      if (error instanceof APIError && error.status === 400) {
        const param = error.param ?? "";
        if (param === "max_tokens" && asked.limit === "max_tokens") {
          limit = "max_completion_tokens";
          return attempt(text);
        }
        if (param === "temperature" && asked.greedy) {
          greedy = false;
          return attempt(text);
        }
      }
      const problem = problemOf(error);
      if (problem !== null) return { text: "", cut: false, problem };
      throw explained(error);
    }
  };

  function replyOf(reply: unknown): Reply {
    const found = replySchema.safeParse(reply);
    if (!found.success) {
      const said = (reply as { readonly error?: { readonly message?: unknown } } | null)?.error?.message;
      const why = typeof said === "string" ? shown(said) : `${firstIssue(found.error)}, in ${shown(reply)}`;
      throw new PassingError(`${what} did not answer as OpenAI's API does: ${why}`);
    }
    const { message, finish_reason } = found.data.choices[0]!;
    return { text: message.content ?? "", cut: finish_reason === "length" };
  }

  /** Every way in which a request can fail, as a sentence. */
  function explained(error: unknown): Error {
    if (error instanceof PassingError) return error;
    if (error instanceof APIConnectionTimeoutError)
      return new PassingError(`${what} has not answered after ${duration(timeout)}`, { cause: error });
    if (!(error instanceof APIError) || error.status === undefined) {
      const why = error instanceof SyntaxError ? "did not answer in JSON" : "cannot be reached";
      return new PassingError(`${what} ${why}: ${causeOf(error)}`, { cause: error });
    }
    const { status, code, headers } = error;
    // A limit that no waiting lifts has the same status as one that does.
    if (code !== "insufficient_quota" && (status >= 500 || [408, 409, 425, 429].includes(status))) {
      const seconds = secondsOf(headers);
      const wait = seconds === null ? "" : `, and asks to wait ${duration(seconds)}`;
      const busy = status === 429 || (status === 503 && seconds !== null);
      return new PassingError(`${what} answered ${told(error)}${wait}`, { seconds, busy, cause: error });
    }
    const hint =
      status === 401 || status === 403
        ? "set OPENAI_API_KEY, or give --key"
        : status === 404
          ? "see --judge and --endpoint: GET /v1/models lists what a server has"
          : undefined;
    return new UserError(`${what} refused: ${told(error)}`, { ...(hint && { hint }), cause: error });
  }

  return {
    async ask(text) {
      try {
        return await trying(() => attempt(text));
      } catch (error) {
        if (!(error instanceof PassingError)) throw error;
        const { retries } = patience;
        const tried = retries > 0 ? ` (tried ${retries + 1} times)` : "";
        throw new UserError(`${error.message}${tried}`, { cause: error });
      }
    },
  };
}

/** Why a server will not take this one text, whoever asks; null where that is not the matter. */
function problemOf(error: unknown): string | null {
  if (!(error instanceof APIError)) return null;
  const own = ["context_length_exceeded", "content_filter", "content_policy_violation"].includes(error.code ?? "");
  return own || error.status === 413 ? told(error) : null;
}

/** `429 Too many requests`, on one line and short. */
function told(error: APIError): string {
  const text = error.message.replace(/\s+/g, " ").trim();
  return text.length > 200 ? `${text.slice(0, 200)}...` : text;
}

/** What lies below the sentence of OpenAI's package, which says no more than that there is an error. */
function causeOf(error: unknown): string {
  const cause = (error as { readonly cause?: unknown } | null)?.cause;
  return cause === undefined ? messageOf(error).replace(/ For more information,.*/s, "") : causeOf(cause);
}

/** Retry-After, in seconds or as a date, or in milliseconds as OpenAI has it. */
function secondsOf(headers: Headers | undefined): number | null {
  const ms = headers?.get("retry-after-ms");
  if (ms && Number.isFinite(Number(ms))) return Math.max(0, Number(ms) / 1000);
  const after = headers?.get("retry-after");
  if (!after) return null;
  const seconds = Number.isFinite(Number(after)) ? Number(after) : (Date.parse(after) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.max(0, seconds) : null;
}
