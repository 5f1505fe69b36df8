/** Files: read with one sentence for what is wrong with them, and written so that none stands under its name before it is whole. */
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { messageOf, reasonOf, UserError, type UserErrorOptions } from "./errors";

/** The error where a file cannot be read. `what` is what it is called in the sentence. */
export function unreadable(what: string, error: unknown, options: UserErrorOptions = {}): UserError {
  return new UserError(`${what} cannot be read: ${reasonOf(error)}`, { cause: error, ...options });
}

/** Bytes of a file as text. `what` is what the file is called where they are none. */
export function textOf(bytes: Uint8Array, what: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw notText(what);
  }
}

export function notText(what: string): UserError {
  return new UserError(`${what} is not text: it holds bytes that are not UTF-8`, { hint: "convert it to UTF-8 first" });
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
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw unreadable(path, error, { hint });
  }
  try {
    return parser.parse(JSON.parse(text));
  } catch (cause) {
    const [issue] = (cause as { readonly issues?: readonly Issue[] }).issues ?? [];
    if (!issue) throw new UserError(`${path} is not valid JSON: ${messageOf(cause)}`, { hint, cause });
    const place = issue.path.length ? `${issue.path.map(String).join(".")}: ` : "";
    throw new UserError(`${path}: ${place}${issue.message.replace(/^Invalid input: /, "")}`, { hint, cause });
  }
}

/** What a schema of zod's finds wrong. */
interface Issue {
  readonly path: readonly PropertyKey[];
  readonly message: string;
}

/**
 * Makes a file or a folder: `write` makes it beside `path` under a name of its own, which becomes `path` once all of it is on the disk.
 * What stood there is replaced. Where anything fails, nothing is left but what was there before.
 */
export async function writeAside<T>(path: string, write: (temporary: string) => T | Promise<T>): Promise<T> {
  const temporary = aside(path);
  try {
    mkdirSync(dirname(path), { recursive: true });
    const result = await write(temporary);
    settle(temporary, path);
    return result;
  } catch (error) {
    rmSync(temporary, { recursive: true, force: true });
    throw error;
  }
}

/** The same for a short text, at once. */
export function writeTextAside(path: string, text: string): void {
  const temporary = aside(path);
  try {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(temporary, text);
    settle(temporary, path);
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

function settle(temporary: string, path: string): void {
  sync(temporary);
  // A folder cannot be renamed onto another: the old one is moved away first, and brought back where that is all that can be done.
  const replaced = statSync(temporary).isDirectory() && existsSync(path) ? aside(path, "old") : null;
  if (replaced) renameSync(path, replaced);
  try {
    renameSync(temporary, path);
  } catch (error) {
    if (replaced) renameSync(replaced, path);
    throw error;
  }
  syncNames(dirname(path));
  if (replaced) rmSync(replaced, { recursive: true, force: true });
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
