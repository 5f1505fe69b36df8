/** Conversations on disk: JSON that a person can read, and what other programs write of conversations. */
import { existsSync, mkdirSync, readdirSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { basename, join } from "node:path";
import { z } from "zod";
import { UserError } from "../errors";
import { firstIssue, readTextFile, writeTextAside } from "../files";
import { type Sampling, sampling } from "../generate/sampling";
import type { Talk } from "./talk";

/** What a person says stays with them: nobody else may read it. */
const PRIVATE = 0o600;
const PRIVATE_FOLDER = 0o700;
const MOST_BYTES = 2 ** 26;

/** XDG_STATE_HOME/dawngrad, else ~/.local/state/dawngrad. */
export function stateFolder(env: NodeJS.ProcessEnv = process.env): string {
  return join(env.XDG_STATE_HOME || join(homedir(), ".local", "state"), "dawngrad");
}

export const historyFile = () => join(stateFolder(), "history");
const chatsFolder = () => join(stateFolder(), "chats");

export interface SavedChat {
  readonly talk: Talk;
  /** Null where the file says nothing of them. */
  readonly settings: Sampling | null;
  readonly model: string | null;
}

const part = z.union([z.string(), z.object({ type: z.literal("text"), text: z.string() })]);

const content = z
  .union([z.string(), z.array(part)], "expected a text")
  .transform((given) =>
    typeof given === "string" ? given : given.map((one) => (typeof one === "string" ? one : one.text)).join(""),
  );

const message = z
  .object({
    role: z.enum(["system", "developer", "user", "assistant"], "expected system, user or assistant"),
    content,
  })
  .transform(({ role, content }) => ({ role: role === "developer" ? ("system" as const) : role, content }));

const schema = z.object({
  model: z.string().nullish(),
  settings: sampling.nullish(),
  system: z.string().nullish(),
  unseen: z.int().min(0).nullish(),
  messages: z.array(message),
});

/** Throws a UserError where it is no conversation: an object with `messages`, or a list of messages. */
export function parseChat(text: string, where: string): SavedChat {
  const hint = 'a conversation is {"messages": [{"role": "user", "content": "..."}, ...]}';
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new UserError(`${where} is not JSON`, { hint });
  }
  const found = schema.safeParse(Array.isArray(value) ? { messages: value } : value);
  if (!found.success) throw new UserError(`${where} is no conversation: ${firstIssue(found.error)}`, { hint });
  const { model, settings, system, messages, unseen } = found.data;
  // Others keep the system's text as the first message.
  const [first, ...rest] = messages;
  const own = system ?? (first?.role === "system" ? first.content : "");
  const turns = system === undefined && first?.role === "system" ? rest : messages;
  return {
    talk: { system: own ?? "", messages: turns, unseen: Math.min(unseen ?? 0, turns.length) },
    settings: settings ?? null,
    model: model ?? null,
  };
}

export function readChat(path: string): SavedChat {
  const file = { most: MOST_BYTES, hint: "/load alone lists the chats that there are" };
  return parseChat(readTextFile(path, path, file), path);
}

export function writeChat(path: string, { talk, settings, model }: SavedChat): void {
  const { system, messages, unseen } = talk;
  writePrivate(path, `${JSON.stringify({ model, settings, system, unseen, messages }, null, 2)}\n`);
}

export function writePrivate(path: string, text: string): void {
  mkdirSync(stateFolder(), { recursive: true, mode: PRIVATE_FOLDER });
  writeTextAside(path, text, PRIVATE);
}

/** A name of one of the chats that are kept, or a path. */
export function chatPath(given: string): string {
  if (/[\\/]/.test(given) || given.endsWith(".json")) return given.replace(/^~(?=\/)/, homedir());
  return join(chatsFolder(), `${given}.json`);
}

/** Where a new chat saves itself: a name that no other has. */
export function newChatPath(now = new Date()): string {
  const stamp = now.toISOString().slice(0, 19).replace("T", "-").replaceAll(":", "");
  for (let i = 1; ; i++) {
    const path = join(chatsFolder(), `${stamp}${i > 1 ? `-${i}` : ""}.json`);
    if (!existsSync(path)) return path;
  }
}

export interface KnownChat {
  readonly name: string;
  readonly path: string;
  readonly changedMs: number;
}

/** The chats that are kept, the newest first. */
export function knownChats(): KnownChat[] {
  const folder = chatsFolder();
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((file) => file.endsWith(".json"))
    .map((file) => join(folder, file))
    .map((path) => ({ name: basename(path, ".json"), path, changedMs: statSync(path).mtimeMs }))
    .sort((a, b) => b.changedMs - a.changedMs);
}
