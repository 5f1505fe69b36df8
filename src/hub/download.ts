/** One file from the Hub into a blob: resumed where it broke off, checked before it gets its name. */
import { createHash, type Hash } from "node:crypto";
import {
  closeSync,
  createReadStream,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { dirname } from "node:path";
import { fileDownloadInfo } from "@huggingface/hub";
import { codeOf, messageOf, UserError } from "../errors";
import type { HubSettings } from "./settings";

export interface RemoteFile {
  readonly path: string;
  readonly size: number;
  /** The SHA-256 of a large file, the git object id (SHA-1) of a small one. */
  readonly checksum: string;
}

export interface Source {
  readonly type: "model" | "dataset";
  readonly name: string;
  readonly revision: string;
  readonly settings: HubSettings;
}

/** Attempts in a row that bring nothing before it gives up. */
const ATTEMPTS = 5;
const FIRST_PAUSE_MS = 200;

/** Fetches `file` into `blob`. `onProgress` gets the bytes that are there so far. Throws a UserError if it cannot be had whole. */
export async function download(
  source: Source,
  file: RemoteFile,
  blob: string,
  onProgress: (bytes: number) => void,
): Promise<void> {
  const incomplete = `${blob}.incomplete`;
  mkdirSync(dirname(blob), { recursive: true });
  await persistently(
    () => sizeOf(incomplete),
    async () => {
      if (file.size === 0) writeFileSync(incomplete, "");
      else if (sizeOf(incomplete) < file.size) await append(source, file, incomplete, onProgress);
      return sizeOf(incomplete) >= file.size;
    },
    (error) => explained(error, source, file.path),
  );
  const found = await checksumOf(incomplete, file);
  if (found !== file.checksum) {
    rmSync(incomplete);
    throw new UserError(`${source.name}: ${file.path} has the checksum ${found}, expected ${file.checksum}`, {
      hint: "it was damaged on its way and has been removed; fetch it again",
    });
  }
  renameSync(incomplete, blob);
}

/** Adds what is missing to the end of the incomplete file. */
async function append(
  { type, name, revision, settings }: Source,
  { path, size }: RemoteFile,
  incomplete: string,
  onProgress: (bytes: number) => void,
): Promise<void> {
  const token = settings.token ? { accessToken: settings.token } : {};
  const repo = { type, name } as const;
  const info = await fileDownloadInfo({ repo, path, revision, hubUrl: settings.endpoint, ...token });
  if (!info) throw new UserError(`${name} has no file ${path}`);
  if (info.size !== size) throw new UserError(`${name}: ${path} has ${info.size} bytes, and its list says ${size}`);
  const headers: Record<string, string> = settings.token ? { Authorization: `Bearer ${settings.token}` } : {};
  await appendFrom(info.url, incomplete, { headers, size, what: `${name}: ${path}`, onProgress });
}

export interface AppendOptions {
  readonly headers?: Readonly<Record<string, string>>;
  /** Bytes that the whole has, where that is known. */
  readonly size?: number;
  readonly what: string;
  readonly onProgress: (bytes: number) => void;
}

/** Adds what follows the bytes that are there to the end of a file. Returns how many the whole has, as the server says. */
export async function appendFrom(
  url: string,
  incomplete: string,
  { headers = {}, size = Number.POSITIVE_INFINITY, what, onProgress }: AppendOptions,
): Promise<number | null> {
  let at = sizeOf(incomplete);
  const response = await fetch(url, { headers: { ...headers, ...(at > 0 && { Range: `bytes=${at}-` }) } });
  if (!response.ok || !response.body) {
    throw Object.assign(new Error(`status ${response.status}`), { statusCode: response.status });
  }
  if (at > 0 && response.status !== 206) at = 0; // a server without ranges begins again
  const length = response.headers.get("content-encoding") ? null : response.headers.get("content-length");
  const whole = length === null ? null : at + Number(length);
  const fd = openSync(incomplete, at > 0 ? "a" : "w");
  try {
    for await (const chunk of response.body) {
      if (at + chunk.length > size) throw new UserError(`${what} brings more than its ${size} bytes`);
      for (let written = 0; written < chunk.length; ) written += writeSync(fd, chunk, written);
      at += chunk.length;
      onProgress(at);
    }
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  return whole;
}

/** Tries again while something comes, and where the server is only busy. */
export async function persistently(
  have: () => number,
  attempt: () => Promise<boolean>,
  explain: (error: unknown) => UserError,
): Promise<void> {
  let fruitless = 0;
  for (;;) {
    const before = have();
    try {
      if (await attempt()) return;
      throw new Error("the connection was closed early");
    } catch (error) {
      fruitless = have() > before ? 1 : fruitless + 1;
      if (!worthAnotherTry(error) || fruitless >= ATTEMPTS) throw explain(error);
      await Bun.sleep(FIRST_PAUSE_MS * 2 ** (fruitless - 1));
    }
  }
}

export function sizeOf(path: string): number {
  return existsSync(path) ? statSync(path).size : 0;
}

async function checksumOf(path: string, { size, checksum }: RemoteFile): Promise<string> {
  const hash: Hash = checksum.length === 64 ? createHash("sha256") : createHash("sha1").update(`blob ${size}\0`);
  for await (const chunk of createReadStream(path)) hash.update(chunk as Uint8Array);
  return hash.digest("hex");
}

function statusOf(error: unknown): number | undefined {
  return (error as { statusCode?: number }).statusCode;
}

/** A server that is busy, and a connection that broke. Not what the server has refused, nor our own disk. */
function worthAnotherTry(error: unknown): boolean {
  if (error instanceof UserError) return false;
  const status = statusOf(error);
  if (status !== undefined) return status >= 500 || status === 429 || status === 408;
  return !["ENOSPC", "EDQUOT", "EACCES", "EROFS", "EPERM"].includes(codeOf(error) ?? "");
}

/** What went wrong between here and the Hub, as a sentence. */
export function explained(error: unknown, { name, settings }: Pick<Source, "name" | "settings">, path = ""): UserError {
  if (error instanceof UserError) return error;
  const what = path ? `${name}: ${path}` : name;
  const status = statusOf(error);
  if (status === 401 || status === 403) {
    return new UserError(`${what} may not be read from ${settings.endpoint} (${status})`, {
      hint: settings.token
        ? "the token in HF_TOKEN has no access to it; a gated model must be asked for on its page"
        : "the name may be wrong; a private or gated model needs a token in HF_TOKEN",
      cause: error,
    });
  }
  if (status === 404) {
    return new UserError(`there is no ${what} at ${settings.endpoint}`, {
      hint: "give a name such as gpt2 or owner/name",
      cause: error,
    });
  }
  if (["ENOSPC", "EDQUOT"].includes(codeOf(error) ?? "")) {
    return new UserError(`${what} cannot be stored: the disk is full`, {
      hint: "make room, or set HF_HOME to another disk; what was fetched is kept, and fetching goes on from there",
      cause: error,
    });
  }
  const why = status === undefined ? messageOf(error) : `it answers ${status}`;
  return new UserError(`${what} could not be fetched from ${settings.endpoint}: ${why}`, {
    hint: "what was fetched is kept: run the command again to go on from there",
    cause: error,
  });
}
