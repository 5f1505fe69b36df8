/** What a request is answered instead of what it asked for, in the form that OpenAI's clients read. */
import { UserError } from "../errors";

/** OpenAI's clients send a request again after 408, 409, 429 and all from 500 on: so a mistake of theirs is never one of these. */
export class Refusal extends Error {
  readonly status: number;
  readonly param: string | null;
  readonly code: string | null;
  /** Seconds after which it may be tried again. */
  readonly retryAfter: number | null;

  constructor(
    status: number,
    message: string,
    {
      param = null,
      code = null,
      retryAfter = null,
    }: { readonly param?: string | null; readonly code?: string | null; readonly retryAfter?: number | null } = {},
  ) {
    super(message);
    this.status = status;
    this.param = param;
    this.code = code;
    this.retryAfter = retryAfter;
  }
}

/** What went wrong as a refusal. What is not the client's mistake is told without its inside. */
export function refusalOf(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  if (error instanceof UserError)
    return new Refusal(400, error.hint ? `${error.message}: ${error.hint}` : error.message);
  return new Refusal(500, "the server failed; its own output says how", { code: "internal_error" });
}

/** {"error": ...}, as it is answered, and as it comes in a stream. */
export function errorBody({ status, message, param, code }: Refusal) {
  const type =
    status === 429
      ? "rate_limit_error"
      : status >= 500
        ? "server_error"
        : status === 401 || status === 403
          ? "authentication_error"
          : "invalid_request_error";
  return { error: { message, type, param, code } };
}

export function refuse(error: unknown): Response {
  const refusal = refusalOf(error);
  const { status, retryAfter } = refusal;
  return Response.json(errorBody(refusal), {
    status,
    headers: {
      ...(retryAfter !== null && { "retry-after": String(retryAfter) }),
      ...(status === 401 && { "www-authenticate": "Bearer" }),
    },
  });
}
