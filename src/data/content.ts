/** What a data file holds: its bytes, unpacked where they are gzipped, and its text. */
import { gunzipSync } from "node:zlib";
import { codeOf, messageOf, UserError, type UserErrorOptions } from "../errors";
import { MOST_TEXT_BYTES, plainTextOf, unreadable } from "../files";

export interface Called extends UserErrorOptions {
  /** What the file is called in messages. */
  readonly what: string;
}

/** The bytes of a file. Gzip is known by its first bytes, which no text begins with. */
export async function contentOf(file: string, { what, ...options }: Called): Promise<Uint8Array> {
  let bytes: Uint8Array;
  try {
    bytes = await Bun.file(file).bytes();
  } catch (error) {
    throw unreadable(what, error, options);
  }
  const gzipped = what.toLowerCase().endsWith(".gz") || (bytes[0] === 0x1f && bytes[1] === 0x8b);
  return gzipped ? unzipped(bytes, what) : bytes;
}

/** A file of nothing but text. */
export async function textIn(file: string, called: Called): Promise<string> {
  const { what, ...options } = called;
  const content = await contentOf(file, called);
  if (isParquet(content))
    throw new UserError(`${what} is a Parquet table, and no text`, { hint: "write its column of text to a file" });
  const text = plainTextOf(content, what);
  if (text.trim() !== "") return text;
  throw new UserError(`${what} is empty`, options);
}

export function isParquet(content: Uint8Array): boolean {
  return Buffer.from(content.subarray(0, 4)).toString("latin1") === "PAR1";
}

/** Text seldom shrinks below a twentieth, and what is made to fill the memory to a thousandth. */
const MOST_TIMES = 100;
const ALWAYS_BYTES = 2 ** 26;

function unzipped(bytes: Uint8Array, what: string): Uint8Array {
  const most = Math.min(MOST_TEXT_BYTES, Math.max(ALWAYS_BYTES, MOST_TIMES * bytes.length));
  try {
    return gunzipSync(bytes, { maxOutputLength: most });
  } catch (error) {
    if (codeOf(error) === "ERR_BUFFER_TOO_LARGE")
      throw new UserError(`${what} has more than ${most} bytes when it is unpacked, and ${bytes.length} before`, {
        hint: "unpack it, and give what of it is data",
      });
    throw new UserError(`${what} is not whole gzip data: ${messageOf(error)}`, { hint: "fetch it again" });
  }
}
