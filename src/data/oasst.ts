/** OpenAssistant's message trees as conversations: https://arxiv.org/abs/2304.07327. */
import type { Message } from "../text/template";
import type { BadRow, Row } from "./rows";

export interface TreeOptions {
  /** The best answers all the way down, or every way from the root to a last answer. */
  readonly paths: "best" | "all";
  /** Only messages in this language, such as en; empty for all. */
  readonly lang: string;
  /** Only messages that reviewers gave at least this quality, from 0 to 1; those without the label are kept. */
  readonly quality: number;
}

export interface TreeMessage {
  readonly text: string;
  readonly role: string;
  readonly lang?: string;
  readonly rank?: number | null;
  readonly deleted?: boolean;
  readonly review_result?: boolean | null;
  readonly labels?: unknown;
  readonly replies?: readonly TreeMessage[];
}

/** Conversations of a tree, each ending with an assistant's answer. Among siblings rank 0 is the best. */
export function pathsOf(root: TreeMessage, options: TreeOptions): Message[][] {
  const good = (message: TreeMessage) =>
    message.deleted !== true &&
    message.review_result !== false &&
    (options.lang === "" || message.lang === options.lang) &&
    qualityOf(message) >= options.quality;
  const walk = (message: TreeMessage): Message[][] => {
    const own: Message = { role: message.role === "prompter" ? "user" : "assistant", content: message.text };
    const replies = (message.replies ?? [])
      .filter(good)
      .sort((a, b) => (a.rank ?? Number.POSITIVE_INFINITY) - (b.rank ?? Number.POSITIVE_INFINITY) || 0);
    // The best way is the best answer's, or the next one's where that has none.
    const ways = replies.map(walk).filter((ways) => ways.length > 0);
    const below = options.paths === "best" ? ways.slice(0, 1) : ways;
    const longer = below.flat().map((way) => [own, ...way]);
    if (longer.length) return longer;
    return own.role === "assistant" ? [[own]] : [];
  };
  return good(root) ? walk(root) : [];
}

/** The label `quality`, as trees and as flat tables have it; 1 where there is none. */
function qualityOf({ labels }: TreeMessage): number {
  if (typeof labels !== "object" || labels === null) return 1;
  const { quality, name, value } = labels as Record<string, unknown>;
  if (typeof (quality as { value?: unknown } | undefined)?.value === "number")
    return (quality as { value: number }).value;
  if (!Array.isArray(name) || !Array.isArray(value)) return 1;
  const at = name.indexOf("quality");
  return at >= 0 && typeof value[at] === "number" ? value[at] : 1;
}

/** Languages of a tree's messages, counted. */
export function countLanguages(root: TreeMessage, counts: Map<string, number>): void {
  if (root.lang) counts.set(root.lang, (counts.get(root.lang) ?? 0) + 1);
  for (const reply of root.replies ?? []) countLanguages(reply, counts);
}

export interface Tree {
  readonly root: TreeMessage;
  readonly where: string;
}

/** Trees from a table with one message a row. A message whose parent is missing is left out, and each that follows it. */
export function treesFrom(rows: readonly Row[]): { readonly trees: readonly Tree[]; readonly bad: readonly BadRow[] } {
  const nodes = new Map<string, TreeMessage & { readonly replies: TreeMessage[] }>();
  for (const { fields } of rows)
    nodes.set(String(fields.message_id), { ...(fields as unknown as TreeMessage), replies: [] });
  const roots: Tree[] = [];
  for (const { fields, where } of rows) {
    const node = nodes.get(String(fields.message_id))!;
    if (fields.parent_id === null || fields.parent_id === undefined) roots.push({ root: node, where });
    else nodes.get(String(fields.parent_id))?.replies.push(node);
  }
  const reached = new Set<TreeMessage>();
  const reach = (message: TreeMessage): void => {
    reached.add(message);
    message.replies?.forEach(reach);
  };
  for (const { root } of roots) reach(root);
  const lost = rows.filter(({ fields }) => !reached.has(nodes.get(String(fields.message_id))!));
  return { trees: roots, bad: lost.map(({ where }) => ({ where, problem: "the message that it answers is missing" })) };
}
