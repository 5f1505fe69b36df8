/** What a policy is asked in training: the prompts of records, whether they have an answer to learn or none. */
import { UserError } from "../errors";
import { TemplateLimitError } from "../text/jinja";
import type { ChatTemplate, Message } from "../text/template";
import type { Tokenizer } from "../text/tokenizer";
import { promptOf } from "./prompted";
import { type Report, reportOf, stopped } from "./report";
import type { BadRow, Row, Rows } from "./row";
import { messagesOf, type Prompt } from "./sides";
import { afterSystem } from "./turns";

/** A prompt as tokens, with what rewards go by. */
export interface PromptExample {
  readonly ids: Uint32Array;
  /** What is asked; of a plain text one turn of the user's. */
  readonly messages: readonly Message[];
  /** The fields of its record. */
  readonly columns: Row["fields"];
  readonly where: string;
}

export interface PromptEncoding {
  readonly tokenizer: Tokenizer;
  readonly template: ChatTemplate;
  /** Tokens of a prompt at most. */
  readonly tokens: number;
  readonly strict: boolean;
}

/** Whether records hold turns, or plain text that is gone on from. The first ones decide. */
export function areTurns({ rows }: Rows): boolean {
  const found = rows.slice(0, 20).map(({ fields }) => promptIn(fields));
  return typeof (found.find((one) => "prompt" in one) as { readonly prompt: Prompt } | undefined)?.prompt !== "string";
}

/** Every record's prompt, encoded. What is too long, or has none, is left out and told. */
export function promptsIn(
  { rows, bad }: Rows,
  { tokenizer, template, tokens, strict }: PromptEncoding,
): { readonly prompts: readonly PromptExample[]; readonly report: Report } {
  const prompts: PromptExample[] = [];
  const problems: BadRow[] = [...bad];
  if (strict && bad[0]) throw stopped(bad[0]);
  for (const { fields, where } of rows) {
    const found = encoded(fields);
    if (typeof found !== "string") {
      prompts.push({ ...found, columns: fields, where });
      continue;
    }
    if (strict) throw stopped({ where, problem: found });
    problems.push({ where, problem: found });
  }
  return { prompts, report: reportOf(rows.length + bad.length, prompts, problems) };

  function encoded(fields: Row["fields"]): Pick<PromptExample, "ids" | "messages"> | string {
    const found = promptIn(fields);
    if ("problem" in found) return found.problem;
    const { prompt } = found;
    const messages: readonly Message[] = typeof prompt === "string" ? [{ role: "user", content: prompt }] : prompt;
    try {
      const ids = typeof prompt === "string" ? tokenizer.encode(prompt) : template.prompt(prompt);
      if (ids.length === 0) return "the prompt is empty";
      if (ids.length > tokens) return `the prompt has ${ids.length} tokens, and ${tokens} are left beside the answer`;
      return { ids: Uint32Array.from(ids), messages };
    } catch (error) {
      // A template without end would not end on the next record either.
      if (!(error instanceof UserError) || error instanceof TemplateLimitError) throw error;
      return error.message;
    }
  }
}

/** What comes before the last answer of a record: all of it where there is none. */
export function promptIn(fields: Row["fields"]): { readonly prompt: Prompt } | { readonly problem: string } {
  const list = fields.messages ?? fields.conversations;
  if (list !== undefined && list !== null) {
    const turns = messagesOf(list, () => {});
    if (typeof turns === "string") return { problem: turns };
    const whole = afterSystem(fields.system, { messages: turns, unlearned: [] }, () => {});
    if (typeof whole === "string") return { problem: whole };
    const { messages } = whole;
    const prompt = messages.at(-1)?.role === "assistant" ? messages.slice(0, -1) : messages;
    return prompt.length > 0 ? { prompt } : { problem: "it asks nothing" };
  }
  const found = promptOf(fields, () => {});
  if ("problem" in found) return found;
  return found.prompt === null
    ? { problem: `it has no prompt (it has ${Object.keys(fields).join(", ")})` }
    : { prompt: found.prompt };
}
