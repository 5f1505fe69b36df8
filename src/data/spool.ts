/**
 * What comes through a pipe can be read only once, and a command may need it more often: to know whether it has changed, to train a
 * tokenizer, to train. So it is copied to a temporary file first, once for all, which goes when the program ends.
 */
import { existsSync, mkdirSync, renameSync, rmSync, statSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join, sep } from "node:path";
import { UserError } from "../errors";
import { MOST_TEXT_BYTES, unreadable } from "../files";

/** This process's own. */
const FOLDER = join(tmpdir(), `dawngrad-${process.pid}-${Bun.randomUUIDv7().slice(-12)}`);

/** The path of a file that can be read again and again: `path` itself, or where a pipe's content is kept. */
export async function spooled(path: string): Promise<string> {
  const copy = copyOf(path);
  if (copy === null) return path;
  if (existsSync(copy)) return copy;
  if (!existsSync(FOLDER)) {
    mkdirSync(FOLDER, { mode: 0o700 });
    process.once("exit", () => rmSync(FOLDER, { recursive: true, force: true }));
  }
  try {
    await drain(path, `${copy}.part`);
  } catch (error) {
    throw error instanceof UserError ? error : unreadable(path, error);
  }
  renameSync(`${copy}.part`, copy);
  return copy;
}

/** The same where it was spooled already, else `path`. */
export function spooledBefore(path: string): string {
  const copy = copyOf(path);
  return copy !== null && existsSync(copy) ? copy : path;
}

/** Whether a path is that of a copy, which no other process has. */
export function isSpooled(path: string): boolean {
  return path.startsWith(`${FOLDER}${sep}`);
}

/** By what the pipe is, and by its name, which may say what it holds. Null for a file, a folder, or nothing. */
function copyOf(path: string): string | null {
  try {
    const found = statSync(path);
    if (found.isFile() || found.isDirectory()) return null;
    return join(FOLDER, `${found.dev}-${found.ino}-${basename(path)}`);
  } catch {
    // Who reads it says what is wrong with it.
    return null;
  }
}

async function drain(path: string, copy: string): Promise<void> {
  await using to = await open(copy, "w", 0o600);
  let bytes = 0;
  for await (const part of partsOf(path)) {
    bytes += part.length;
    if (bytes > MOST_TEXT_BYTES)
      throw new UserError(`${path} gives more than ${MOST_TEXT_BYTES} bytes`, { hint: "write them to files first" });
    await to.writeFile(part);
  }
}

/** Waiting for them holds nothing else up, such as Ctrl-C. */
async function* partsOf(path: string): AsyncGenerator<Uint8Array> {
  const descriptor = /^\/dev\/fd\/(\d+)$/.exec(path)?.[1] ?? (path === "/dev/stdin" ? 0 : null);
  if (descriptor !== null && statSync(path).isSocket()) {
    // It has no name that it could be opened by.
    yield* Bun.file(Number(descriptor)).stream();
    return;
  }
  await using from = await open(path);
  const buffer = Buffer.alloc(1 << 16);
  for (;;) {
    const { bytesRead } = await from.read(buffer, 0, buffer.length, null);
    if (bytesRead === 0) return;
    yield buffer.subarray(0, bytesRead);
  }
}
