/** Files: read with one sentence for what is wrong with them, and written so that none stands under its name before it is whole. */
import {
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { codeOf, messageOf, reasonOf, UserError, type UserErrorOptions } from "./errors";

/** Whether an error says that a file may not be read by us, which is no damage. */
export function isForbidden(error: unknown): boolean {
  return error instanceof UserError && ["EACCES", "EPERM"].includes(codeOf(error.cause) ?? "");
}

/** The error where a file cannot be read. `what` is what it is called in the sentence. */
export function unreadable(what: string, error: unknown, options: UserErrorOptions = {}): UserError {
  return new UserError(`${what} cannot be read: ${reasonOf(error)}`, { cause: error, ...options });
}

/** A text is one string of JavaScript's, which has at most so many characters: with more bytes it would come out empty. */
export const MOST_TEXT_BYTES = 2 ** 31 - 1;

/** Bytes of a file as text, without a byte-order mark. `what` is what the file is called where they are none. */
export function textOf(bytes: Uint8Array, what: string): string {
  if (bytes.length > MOST_TEXT_BYTES)
    throw new UserError(`${what} has ${bytes.length} bytes of text, and at most ${MOST_TEXT_BYTES} are read`, {
      hint: "cut it into several files",
    });
  if ((bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff)) {
    const encoding = bytes.length > 3 && bytes[2] === 0 && bytes[3] === 0 ? "UTF-32" : "UTF-16";
    throw notText(what, `it begins with the byte-order mark of ${encoding}`, encoding);
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw notText(what, "it holds bytes that are not UTF-8");
  }
}

/** The same of a whole file, which no text has NUL characters in. */
export function plainTextOf(bytes: Uint8Array, what: string): string {
  const text = textOf(bytes, what);
  const at = text.indexOf("\0");
  if (at < 0) return text;
  const line = text.slice(0, at).split("\n").length;
  // Latin letters in UTF-16 are valid UTF-8 with a NUL before or behind each.
  const wide = [...text.slice(0, 64)].filter((character) => character === "\0").length > 16;
  const encoding = wide ? `UTF-16${at === 0 ? "BE" : "LE"}` : undefined;
  throw notText(what, `it holds a NUL character, the first in line ${line}`, encoding);
}

function notText(what: string, why: string, encoding?: string): UserError {
  const hint = encoding ? `convert it first: iconv -f ${encoding} -t UTF-8` : "convert it to UTF-8 first";
  return new UserError(`${what} is not text in UTF-8: ${why}`, { hint });
}

/** Bytes of a text that a person wrote, such as a template or a config. */
const MOST_WRITTEN_BYTES = 2 ** 24;

export interface ReadOptions extends UserErrorOptions {
  /** Bytes at most. */
  readonly most?: number;
}

/** A text file, or what comes through a pipe. Every way in which it can be wrong is one sentence, with `what` it is called. */
export function readTextFile(path: string, what = path, options: ReadOptions = {}): string {
  return plainTextOf(readBytes(path, what, { most: MOST_WRITTEN_BYTES, ...options }), what);
}

function readBytes(path: string, what: string, { most, ...options }: ReadOptions & { most: number }): Uint8Array {
  try {
    const file = statSync(path, { throwIfNoEntry: false });
    // What is inside the executable has no size here.
    if (!file || file.isDirectory() || (file.isFile() && file.size <= most)) return readFileSync(path);
    const bytes = file.isFile() ? null : drained(path, most);
    if (bytes) return bytes;
  } catch (error) {
    throw unreadable(what, error, options);
  }
  throw new UserError(`${what} has more than ${most} bytes`, options);
}

/** All that comes through a pipe; null where it is more than `most`. */
function drained(path: string, most: number): Uint8Array | null {
  const parts: Buffer[] = [];
  const fd = openSync(path, "r");
  try {
    for (let total = 0; total <= most; ) {
      const part = Buffer.alloc(1 << 16);
      const count = readSync(fd, part);
      if (count === 0) return Buffer.concat(parts);
      parts.push(part.subarray(0, count));
      total += count;
    }
    return null;
  } finally {
    closeSync(fd);
  }
}

/** Makes a value of parsed JSON, or throws what is wrong with it: a schema of zod's, or a check of one's own. */
export interface Parser<T> {
  parse(value: unknown): T;
}

/** Any object. */
export const jsonObject: Parser<Record<string, unknown>> = {
  parse(value) {
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
    throw new Error("expected an object");
  },
};

/** A JSON file. Every way in which it can be wrong is one sentence with the path, and `hint`. */
export function readJson<T>(path: string, parser: Parser<T>, hint: string): T {
  const text = readTextFile(path, path, { hint, most: MOST_TEXT_BYTES });
  try {
    return parser.parse(JSON.parse(text));
  } catch (cause) {
    const issue = firstIssue(cause);
    const why = issue === null ? ` is not valid JSON: ${messageOf(cause)}` : `: ${issue}`;
    throw new UserError(`${path}${why}`, { hint, cause });
  }
}

/** What a schema of zod's has found first, behind its place: `model.vocab: expected ...`. Null for any other error. */
export function firstIssue(error: unknown): string | null {
  const [issue] = (error as { readonly issues?: readonly Issue[] } | null)?.issues ?? [];
  if (!issue) return null;
  const place = issue.path.length ? `${issue.path.map(String).join(".")}: ` : "";
  return place + issue.message.replace(/^Invalid input: /, "");
}

/** What a schema of zod's finds wrong. */
interface Issue {
  readonly path: readonly PropertyKey[];
  readonly message: string;
}

/**
 * Makes a file or a folder: `write` makes it beside `path` under a name of its own, which becomes `path` once all of it is on the disk.
 * What stood there is replaced. Where anything fails, and where the program is ended, nothing is left but what was there before.
 */
export function writeAside<T>(path: string, write: Write<T>): Promise<T> {
  return written(path, write, replace);
}

/** Makes a file or a folder under the name that it is given. */
type Write<T> = (temporary: string) => T | Promise<T>;

/** The same where nothing stands yet, for what a user has named by --out. What is there, or comes there meanwhile, stays as it is. */
export async function writeNew<T>(path: string, write: Write<T>): Promise<T> {
  try {
    if (lstatSync(path, { throwIfNoEntry: false })) throw Object.assign(new Error(), { code: "EEXIST" });
    return await written(path, write, claim);
  } catch (error) {
    if (["EEXIST", "ENOTEMPTY"].includes(codeOf(error) ?? ""))
      throw new UserError(`${path} is there already`, { hint: "give another name with --out", exitCode: 2 });
    if (error instanceof UserError || codeOf(error) === undefined) throw error;
    throw new UserError(`${path} cannot be written: ${reasonOf(error)}`, { hint: HINT, cause: error });
  }
}

const HINT = "make room, or give another place with --out";

async function written<T>(
  path: string,
  write: Write<T>,
  settle: (temporary: string, path: string) => void,
): Promise<T> {
  const temporary = aside(path);
  const remove = () => rmSync(temporary, { recursive: true, force: true });
  process.on("exit", remove);
  try {
    mkdirSync(dirname(path), { recursive: true });
    const result = await write(temporary);
    sync(temporary);
    settle(temporary, path);
    syncNames(dirname(path));
    return result;
  } catch (error) {
    remove();
    throw error;
  } finally {
    process.off("exit", remove);
  }
}

/** A rename would replace a file that has come there; a link does not. Some disks have no links. */
function claim(temporary: string, path: string): void {
  if (statSync(temporary).isDirectory()) {
    renameSync(temporary, path);
    return;
  }
  try {
    linkSync(temporary, path);
  } catch (error) {
    if (codeOf(error) === "EEXIST") throw error;
    if (existsSync(path)) throw Object.assign(new Error(), { code: "EEXIST" });
    renameSync(temporary, path);
    return;
  }
  rmSync(temporary);
}

/** As `writeAside`, for a short text, at once. `mode`: who may read it, where that is not everybody. */
export function writeTextAside(path: string, text: string, mode?: number): void {
  const temporary = aside(path);
  try {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(temporary, text, { mode });
    sync(temporary);
    replace(temporary, path);
    syncNames(dirname(path));
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

/** Renames what is damaged, so that another can take its place and nothing is lost. Returns the name that it has now. */
export function keepDamaged(path: string): string {
  let kept = `${path}.damaged`;
  for (let i = 2; existsSync(kept); i++) kept = `${path}.damaged-${i}`;
  renameSync(path, kept);
  return kept;
}

/** Two processes, and two calls of one, never write under one name. */
function aside(path: string, kind: "tmp" | "old" = "tmp"): string {
  return join(dirname(path), `.${basename(path)}.${process.pid}-${Bun.randomUUIDv7().slice(-12)}.${kind}`);
}

const REMAINS = /^\.(.+)\.\d+-[0-9a-f]{12}\.(tmp|old)$/;

/**
 * Clears a folder that nobody writes into of what a process left that was killed while it wrote: what was not whole is removed, what
 * was about to be replaced is brought back.
 */
export function clearRemains(folder: string): void {
  for (const file of readdirSync(folder)) {
    const [, name, kind] = REMAINS.exec(file) ?? [];
    if (name === undefined) continue;
    if (kind === "old" && !existsSync(join(folder, name))) renameSync(join(folder, file), join(folder, name));
    else rmSync(join(folder, file), { recursive: true, force: true });
  }
}

function replace(temporary: string, path: string): void {
  // A folder cannot be renamed onto another: the old one is moved away first, and brought back where that is all that can be done.
  const replaced = statSync(temporary).isDirectory() && existsSync(path) ? aside(path, "old") : null;
  if (replaced) renameSync(path, replaced);
  try {
    renameSync(temporary, path);
  } catch (error) {
    if (replaced) renameSync(replaced, path);
    throw error;
  }
  if (!replaced) return;
  syncNames(dirname(path));
  rmSync(replaced, { recursive: true, force: true });
}

/** Waits until a file, or every file of a folder, is on the disk. */
function sync(path: string): void {
  if (statSync(path).isDirectory()) {
    for (const name of readdirSync(path)) sync(join(path, name));
    syncNames(path);
    return;
  }
  const fd = openSync(path, "r+");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Waits until a folder's names are on the disk. Windows has no such call. */
function syncNames(folder: string): void {
  if (process.platform === "win32") return;
  const fd = openSync(folder, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
