/** OpenAssistant's message trees as conversations: https://arxiv.org/abs/2304.07327. Nothing here goes down a tree by recursion. */
import { UserError } from "../errors";
import type { Message } from "../text/template";
import { isObject, parsedJson } from "./json";
import type { BadRow, Row } from "./row";

export interface TreeOptions {
  /** The best answers all the way down, or every way from the root to a last answer. */
  readonly paths: "best" | "all";
  /** Only messages in this language, such as en; empty for all. */
  readonly lang: string;
  /** Only messages that reviewers gave at least this quality, from 0 to 1; those without the label are kept. */
  readonly quality: number;
}

export interface Conversations {
  readonly conversations: readonly { readonly messages: readonly Message[]; readonly where: string }[];
  /** Trees, and messages that belong to none. */
  readonly read: number;
  readonly bad: readonly BadRow[];
}

/** Conversations of rows that are whole trees, or a message each. */
export function conversationsOf(
  rows: readonly Row[],
  format: "oasst" | "oasst-messages",
  options: TreeOptions,
): Conversations {
  const { trees, bad: lost } = format === "oasst-messages" ? treesFrom(rows) : wholeTrees(rows);
  const bad = [...lost];
  if (options.lang !== "") expectLanguage(trees, options.lang);
  const conversations = trees.flatMap(({ root, where }) => {
    const { paths, problems } = pathsOf(root, options);
    const reasons = paths.length + problems.length ? problems : ["no answer passes the filter"];
    bad.push(...reasons.map((problem) => ({ where, problem })));
    return paths.map((messages) => ({ messages, where }));
  });
  return { conversations, read: trees.length + lost.length, bad };
}

interface Said {
  readonly role: Message["role"];
  readonly text: string;
  readonly rank: number;
  readonly replies: readonly unknown[];
}

interface Node extends Said {
  readonly parent: Node | null;
  readonly children: Node[];
}

interface Paths {
  readonly paths: readonly Message[][];
  /** What was left out because it is broken. */
  readonly problems: readonly string[];
}

/** Answers to one message that people have ranked, each with what was said before. */
export interface RankedReplies {
  readonly prompt: readonly Message[];
  /** Rank 0 is the best. */
  readonly replies: readonly { readonly text: string; readonly rank: number }[];
  readonly where: string;
}

/** Of every message that has two answers with ranks at least. */
export function rankedReplies(
  rows: readonly Row[],
  format: "oasst" | "oasst-messages",
  options: TreeOptions,
): { readonly groups: readonly RankedReplies[]; readonly read: number; readonly bad: readonly BadRow[] } {
  const { trees, bad: lost } = format === "oasst-messages" ? treesFrom(rows) : wholeTrees(rows);
  const bad = [...lost];
  if (options.lang !== "") expectLanguage(trees, options.lang);
  const groups = trees.flatMap(({ root, where }) => {
    const { nodes, problems } = nodesOf(root, options);
    const found = nodes.flatMap((node) => {
      const replies = node.children.filter(({ role, rank }) => role === "assistant" && Number.isFinite(rank));
      return node.role === "user" && replies.length > 1 ? [{ prompt: pathTo(node), replies, where }] : [];
    });
    const reasons = found.length > 0 ? problems : [...problems, "no message has two answers with ranks"];
    bad.push(...reasons.map((problem) => ({ where, problem })));
    return found;
  });
  return { groups, read: trees.length + lost.length, bad };
}

/** Messages of a tree that pass the filter, parents before children, and better siblings before worse. */
function nodesOf(
  root: unknown,
  options: TreeOptions,
): { readonly nodes: Node[]; readonly problems: readonly string[] } {
  const problems = new Set<string>();
  const saidOf = (value: unknown): Said[] => {
    const said = read(value, options);
    if (typeof said === "string") problems.add(said);
    return said === null || typeof said === "string" ? [] : [said];
  };
  const nodes: Node[] = [];
  const waiting: Node[] = saidOf(root).map((said) => ({ ...said, parent: null, children: [] }));
  for (let node = waiting.pop(); node; node = waiting.pop()) {
    nodes.push(node);
    const parent = node;
    const replies = node.replies.flatMap(saidOf).sort((a, b) => (a.rank === b.rank ? 0 : a.rank - b.rank));
    node.children.push(...replies.map((said) => ({ ...said, parent, children: [] })));
    for (const child of node.children.toReversed()) waiting.push(child);
  }
  return { nodes, problems: [...problems] };
}

/** Conversations of a tree, each ending with an assistant's answer. Among siblings rank 0 is the best. */
export function pathsOf(root: unknown, options: TreeOptions): Paths {
  const { nodes, problems } = nodesOf(root, options);
  const answered = new Set<Node>();
  for (const node of nodes.toReversed())
    if (node.role === "assistant" || node.children.some((child) => answered.has(child))) answered.add(node);
  const last = nodes.filter((node) => answered.has(node) && !node.children.some((child) => answered.has(child)));
  // The best way is the best answer's, or the next one's where that has none.
  const chosen = options.paths === "best" ? last.slice(0, 1) : last;
  return { paths: chosen.map(pathTo), problems };
}

function pathTo(last: Node): Message[] {
  const path: Message[] = [];
  for (let node: Node | null = last; node; node = node.parent) path.push({ role: node.role, content: node.text });
  return path.reverse();
}

const roles: Readonly<Record<string, Message["role"]>> = { prompter: "user", assistant: "assistant" };

/** A message; null where the filter keeps it out, or why it is none. What follows it goes with it. */
function read(message: unknown, options: TreeOptions): Said | string | null {
  const left = "and is left out with what follows it";
  if (!isObject(message)) return `a reply is no message, ${left}`;
  const { text, role, lang, rank, deleted, review_result: reviewed, replies } = message;
  if (flagOf(deleted) === true || flagOf(reviewed) === false) return null;
  if (options.lang !== "" && lang !== options.lang) return null;
  if (qualityOf(message.labels) < options.quality) return null;
  if (typeof text !== "string" || text.trim() === "") return `a message has no text, ${left}`;
  const known = typeof role === "string" && Object.hasOwn(roles, role) ? roles[role] : undefined;
  if (!known) return `a message is neither the prompter's nor the assistant's, ${left}`;
  return {
    role: known,
    text,
    rank: rank === null || rank === "" || Number.isNaN(Number(rank)) ? Number.POSITIVE_INFINITY : Number(rank),
    replies: Array.isArray(replies) ? replies : [],
  };
}

/** Tables of text have booleans as words. */
function flagOf(value: unknown): unknown {
  if (typeof value !== "string") return value;
  return { true: true, false: false }[value.trim().toLowerCase()];
}

/** The label `quality`, as trees and as flat tables have it; 1 where there is none. */
function qualityOf(given: unknown): number {
  const labels = typeof given === "string" ? parsedJson(given) : given;
  if (!isObject(labels)) return 1;
  const { quality, name, value } = labels;
  if (isObject(quality) && typeof quality.value === "number") return quality.value;
  if (!Array.isArray(name) || !Array.isArray(value)) return 1;
  const at = name.indexOf("quality");
  return at >= 0 && typeof value[at] === "number" ? value[at] : 1;
}

interface Tree {
  readonly root: unknown;
  readonly where: string;
}

interface Trees {
  readonly trees: readonly Tree[];
  readonly bad: readonly BadRow[];
}

function wholeTrees(rows: readonly Row[]): Trees {
  const trees: Tree[] = [];
  const bad: BadRow[] = [];
  for (const { fields, where } of rows) {
    const root = typeof fields.prompt === "string" ? parsedJson(fields.prompt) : fields.prompt;
    if (isObject(root)) trees.push({ root, where });
    else bad.push({ where, problem: "prompt is not a message" });
  }
  return { trees, bad };
}

interface Entry {
  readonly message: Readonly<Record<string, unknown>>;
  readonly replies: unknown[];
  readonly entries: Entry[];
}

/** Trees from a table with one message a row. A message whose parent is missing is left out, and each that follows it. */
function treesFrom(rows: readonly Row[]): Trees {
  const byId = new Map<string, Entry>();
  const entries = rows.map(({ fields }) => {
    const replies: unknown[] = [];
    const entry: Entry = { message: { ...fields, replies }, replies, entries: [] };
    const id = idOf(fields.message_id);
    if (id === null) return "message_id is missing";
    if (byId.has(id)) return "another message has its message_id";
    byId.set(id, entry);
    return entry;
  });
  const roots: Entry[] = [];
  const trees: Tree[] = [];
  const orphans: Entry[] = [];
  for (const [i, entry] of entries.entries()) {
    if (typeof entry === "string") continue;
    const { fields, where } = rows[i]!;
    const parent = idOf(fields.parent_id);
    const above = parent === null ? undefined : byId.get(parent);
    if (parent === null) {
      roots.push(entry);
      trees.push({ root: entry.message, where });
    } else if (above) {
      above.replies.push(entry.message);
      above.entries.push(entry);
    } else orphans.push(entry);
  }
  const rooted = reachedFrom(roots);
  const orphaned = reachedFrom(orphans);
  const bad = entries.flatMap((entry, i) => {
    const { where } = rows[i]!;
    if (typeof entry === "string") return [{ where, problem: entry }];
    if (rooted.has(entry)) return [];
    const problem = orphaned.has(entry)
      ? "the message that it answers is missing"
      : "the messages that it answers lead back to itself";
    return [{ where, problem }];
  });
  return { trees, bad };
}

/** Empty cells of tables are nobody's name. */
function idOf(value: unknown): string | null {
  return (typeof value === "string" && value !== "") || typeof value === "number" ? String(value) : null;
}

function reachedFrom(entries: readonly Entry[]): ReadonlySet<Entry> {
  const reached = new Set<Entry>();
  const waiting = [...entries];
  for (let entry = waiting.pop(); entry; entry = waiting.pop()) {
    reached.add(entry);
    for (const below of entry.entries) waiting.push(below);
  }
  return reached;
}

function expectLanguage(trees: readonly Tree[], lang: string): void {
  const counts = countedLanguages(trees);
  if (counts.has(lang)) return;
  const found = [...counts].sort(([, a], [, b]) => b - a).map(([lang, n]) => `${lang} (${n})`);
  throw new UserError(`no message is in ${JSON.stringify(lang)}`, {
    hint: `the languages are ${found.slice(0, 12).join(", ") || "not given"}`,
    exitCode: 2,
  });
}

function countedLanguages(trees: readonly Tree[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  const waiting = trees.map(({ root }) => root);
  while (waiting.length > 0) {
    const message = waiting.pop();
    if (!isObject(message)) continue;
    const { lang, replies } = message;
    if (typeof lang === "string" && lang !== "") counts.set(lang, (counts.get(lang) ?? 0) + 1);
    if (Array.isArray(replies)) for (const reply of replies) waiting.push(reply);
  }
  return counts;
}
