/**
 * The file that a judge's verdicts are kept in: a line each, written as it comes, and never twice. A process that is killed in the middle of
 * a line loses that line alone.
 */
import {
  closeSync,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  writeSync,
} from "node:fs";
import { dirname } from "node:path";
import { z } from "zod";
import { reasonOf, UserError } from "../errors";
import { plainTextOf } from "../files";
import { fingerprintOf } from "../fingerprint";
import { isHeld, tryLock } from "../lock";
import type { Message } from "../text/template";

const line = z.object({
  /** Of everything that the judge was shown, and which judge. */
  key: z.string(),
  judge: z.string(),
  rubric: z.string(),
  prompt: z.array(z.object({ role: z.string(), content: z.string() })),
  a: z.string(),
  b: z.string(),
  /** Which was shown first. */
  order: z.enum(["ab", "ba"]),
  /** Null where the reply could not be read. */
  verdict: z.enum(["a", "b", "tie"]).nullable(),
  /** Null where the judge was not asked. */
  reply: z.string().nullable(),
  /** Why there is no reply. */
  problem: z.string().optional(),
});
export type VerdictLine = z.infer<typeof line>;

/** What the judge is asked: which of two answers is better, in one of both orders. */
export interface Question {
  readonly messages: readonly Message[];
  readonly a: string;
  readonly b: string;
  readonly order: "ab" | "ba";
}

/** What a verdict is known by: another as soon as a letter of what is shown is another, or the judge, or the order. */
export function verdictKey(judge: string, rubric: string, { messages, a, b, order }: Question): string {
  const turns = messages.map(({ role, content }) => [role, content]);
  return fingerprintOf([JSON.stringify([judge, rubric, turns, a, b, order])]);
}

/** What a text of a rubric is called in a line. */
export function rubricName(rubric: string): string {
  return fingerprintOf([rubric]);
}

export interface VerdictFile extends Disposable {
  /** By key. */
  readonly verdicts: ReadonlyMap<string, VerdictLine>;
  /** On disk when it returns. */
  add(verdict: VerdictLine): void;
}

/** Every line begins so; what does not is another's file. */
const BEGINNING = '{"key":"';

/** Opens a file of verdicts, or begins one. Held by one process at a time. */
export function openVerdicts(path: string, note: (text: string) => void): VerdictFile {
  mkdirSync(dirname(path), { recursive: true });
  const lock = tryLock(`${path}.lock`);
  if (isHeld(lock))
    throw new UserError(`${path} is in use by ${lock.text}`, { hint: "wait for it, or give another file with --out" });
  let fd: number | null = null;
  try {
    fd = openSync(path, "a+");
    const verdicts = new Map<string, VerdictLine>();
    readInto(verdicts, path, fd, note);
    const file = fd;
    return {
      verdicts,
      add(verdict) {
        if (verdicts.has(verdict.key)) throw new Error(`the verdict ${verdict.key} was given before`);
        write(file, path, `${JSON.stringify(verdict)}\n`);
        verdicts.set(verdict.key, verdict);
      },
      [Symbol.dispose]() {
        closeSync(file);
        lock[Symbol.dispose]();
      },
    };
  } catch (error) {
    if (fd !== null) closeSync(fd);
    lock[Symbol.dispose]();
    throw error;
  }
}

function readInto(verdicts: Map<string, VerdictLine>, path: string, fd: number, note: (text: string) => void): void {
  const bytes = readFileSync(path);
  const whole = bytes.lastIndexOf("\n") + 1;
  const lines = plainTextOf(bytes.subarray(0, whole), path).split("\n").slice(0, -1);
  const tail = bytes.subarray(whole).toString();
  const unread: number[] = [];
  for (const [i, text] of lines.entries()) {
    const read = parsed(text);
    if (read === null) unread.push(i + 1);
    else if (!verdicts.has(read.key)) verdicts.set(read.key, read);
  }
  const foreign = tail !== "" && !tail.startsWith(BEGINNING) && !BEGINNING.startsWith(tail);
  if (foreign || (unread.length > 0 && verdicts.size === 0))
    throw new UserError(`${path} is there, and is no file of verdicts`, {
      hint: "give another name with --out",
      exitCode: 2,
    });
  if (unread.length > 0)
    note(`${path}: ${unread.length} lines are no verdicts and are passed over, the first is line ${unread[0]}`);
  if (tail === "") return;
  const last = parsed(tail);
  if (last === null) ftruncateSync(fd, whole);
  else {
    write(fd, path, "\n");
    if (!verdicts.has(last.key)) verdicts.set(last.key, last);
  }
  fsyncSync(fd);
}

function parsed(text: string): VerdictLine | null {
  try {
    return line.parse(JSON.parse(text));
  } catch {
    return null;
  }
}

function write(fd: number, path: string, text: string): void {
  const bytes = Buffer.from(text);
  const { size } = fstatSync(fd);
  try {
    for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
    fdatasyncSync(fd);
  } catch (error) {
    // What comes after it must not be read as its end.
    ftruncateSync(fd, size);
    throw new UserError(`${path} cannot be written: ${reasonOf(error)}`, {
      hint: "make room; the verdicts that are in it are kept",
      cause: error,
    });
  }
}
