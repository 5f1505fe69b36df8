/** The JSON that a request brings, within limits of size and of time. */
import { plainTextOf } from "../files";
import { Refusal } from "./refusal";

export interface BodyLimits {
  readonly bytes: number;
  readonly seconds: number;
}

/** Throws a Refusal. The type that a request says of itself does not count: curl leaves it out. */
export async function jsonBody(request: Request, limits: BodyLimits): Promise<unknown> {
  const text = await textBody(request, limits);
  if (text.trim() === "") throw new Refusal(400, "the request has no body, and JSON is expected");
  try {
    return JSON.parse(text);
  } catch {
    throw new Refusal(400, "the request's body is not JSON");
  }
}

async function textBody(request: Request, { bytes: most, seconds }: BodyLimits): Promise<string> {
  const tooLarge = () => new Refusal(413, `the request's body has more than ${most} bytes`);
  if (Number(request.headers.get("content-length") ?? 0) > most) throw tooLarge();
  if (!request.body) return "";
  const reader = request.body.getReader();
  const late = new Refusal(400, `the request's body has not come within ${seconds} s`);
  let timer: ReturnType<typeof setTimeout> | undefined;
  const slow = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(late), 1000 * seconds);
  });
  const parts: Uint8Array[] = [];
  let size = 0;
  try {
    for (;;) {
      const { done, value } = await Promise.race([reader.read(), slow]);
      if (done) break;
      size += value.length;
      if (size > most) throw tooLarge();
      parts.push(value);
    }
  } catch (error) {
    reader.cancel().catch(() => {});
    if (error instanceof Refusal) throw error;
    throw new Refusal(400, "the request's body ended before it was whole");
  } finally {
    clearTimeout(timer);
  }
  return plainTextOf(Buffer.concat(parts), "the request's body");
}
