/**
 * What clients may ask: OpenAI's requests, read leniently. Null is as if it were not there, and what is unknown is ignored; what is known,
 * cannot be done and would change the answer is refused.
 * https://platform.openai.com/docs/api-reference/chat/create, .../completions/create
 */
import { z } from "zod";
import { type Sampling, sampling } from "../generate/sampling";
import type { Message } from "../text/message";
import { Refusal } from "./refusal";

const { temperature, topK, topP, minP, repetitionPenalty, presencePenalty, frequencyPenalty } = sampling.shape;

/** Likeliest tokens that may be asked for. */
export const MOST_TOP = 20;
const MOST_STOPS = 4;

const stop = z.union([z.string(), z.array(z.string()).max(MOST_STOPS)]).default([]);

const shared = {
  model: z.string().default(""),
  stream: z.boolean().default(false),
  stream_options: z.object({ include_usage: z.boolean().nullish() }).optional(),
  // OpenAI's defaults: nothing is left out.
  temperature: temperature.unwrap().default(1),
  top_p: topP.unwrap().default(1),
  top_k: topK.unwrap().default(0),
  min_p: minP.unwrap().default(0),
  repetition_penalty: repetitionPenalty.unwrap().default(1),
  presence_penalty: presencePenalty.unwrap().default(0),
  frequency_penalty: frequencyPenalty.unwrap().default(0),
  max_tokens: z.int().min(1).optional(),
  seed: z.int().optional(),
  stop: stop.refine((given) => [given].flat().every(({ length }) => length <= 1000), "at most 1000 characters each"),
  n: z.int().min(1).default(1),
  logit_bias: z.record(z.string().regex(/^\d+$/, "expected a token's id"), z.number().min(-100).max(100)).default({}),
};

const part = z.union([
  z.string(),
  z.object({ type: z.literal("text"), text: z.string() }),
  z.object({ type: z.string() }).transform(({ type }, context) => {
    context.addIssue(`parts of the type ${type} cannot be read: this model reads text alone`);
    return z.NEVER;
  }),
]);

const content = z
  .union([z.string(), z.array(part)], "expected a text, or a list of parts of text")
  .transform((given) =>
    typeof given === "string" ? given : given.map((one) => (typeof one === "string" ? one : one.text)).join(""),
  );

const message = z.discriminatedUnion(
  "role",
  [
    z.object({ role: z.literal(["system", "developer"]), content }),
    z.object({ role: z.literal("user"), content }),
    z.object({ role: z.literal("assistant"), content: content.nullish().transform((text) => text ?? "") }),
  ],
  "expected a message of the role system, user or assistant",
);

export const chatSchema = z.object({
  ...shared,
  messages: z.array(message).min(1, "expected at least one message"),
  max_completion_tokens: z.int().min(1).optional(),
  logprobs: z.boolean().default(false),
  top_logprobs: z.int().min(0).max(MOST_TOP).optional(),
  /** Goes on with the last message, which is the assistant's: as vLLM calls it. */
  continue_final_message: z.boolean().default(false),
  tools: z.array(z.unknown()).optional(),
  tool_choice: z.unknown().optional(),
  response_format: z.object({ type: z.string() }).optional(),
});
export type ChatAsked = z.infer<typeof chatSchema>;

const ids = z.array(z.int().min(0));

export const completionSchema = z.object({
  ...shared,
  prompt: z.union([z.string(), ids.min(1), z.array(z.string()).min(1), z.array(ids.min(1)).min(1)]).default(""),
  logprobs: z.int().min(0).max(MOST_TOP).optional(),
  echo: z.boolean().default(false),
  suffix: z.string().optional(),
  best_of: z.int().min(1).optional(),
});
export type CompletionAsked = z.infer<typeof completionSchema>;

/** Throws a Refusal that names what is wrong. */
export function readAsked<T>(schema: z.ZodType<T>, body: unknown): T {
  if (typeof body !== "object" || body === null || Array.isArray(body))
    throw new Refusal(400, "the request's body is not a JSON object");
  const given = Object.fromEntries(Object.entries(body).filter(([, value]) => value !== null));
  const found = schema.safeParse(given);
  if (found.success) return found.data;
  const issue = innermost(found.error.issues[0]!);
  const param = issue.path.length > 0 ? placeOf(issue.path) : null;
  const why = issue.message.replace(/^Invalid input: /, "");
  throw new Refusal(400, param === null ? why : `${param}: ${why}`, { param });
}

type Issue = z.core.$ZodIssue;

/** Of a choice between forms the problem that lies deepest: that of the form which was meant. */
function innermost(issue: Issue): Issue {
  if (issue.code !== "invalid_union" || issue.errors.length === 0) return issue;
  const inside = issue.errors.flatMap(([first]) => (first ? [innermost(first)] : []));
  const deepest = inside.reduce<Issue | null>(
    (a, b) => (b.path.length > (a?.path.length ?? 0) || isOurs(b) ? b : a),
    null,
  );
  return deepest ? { ...deepest, path: [...issue.path, ...deepest.path] } : issue;
}

const isOurs = ({ code }: Issue) => code === "custom";

function placeOf(path: readonly PropertyKey[]): string {
  return path.map((key, i) => (typeof key === "number" ? `[${key}]` : `${i ? "." : ""}${String(key)}`)).join("");
}

/** What this server cannot do, and an answer without it would not be what was asked for. */
export function expectChatPossible({ tools, tool_choice: choice, response_format: format }: ChatAsked): void {
  const refuse = (param: string, what: string) => {
    throw new Refusal(400, `${param}: ${what}`, { param, code: "unsupported_value" });
  };
  if (tools?.length && choice !== undefined && choice !== "auto" && choice !== "none")
    refuse("tool_choice", "this model calls no tools");
  if (format && format.type !== "text") refuse("response_format", `${format.type} is not supported, only text`);
}

export function expectCompletionPossible({ echo, logprobs, suffix, best_of: best, n }: CompletionAsked): void {
  const refuse = (param: string, what: string) => {
    throw new Refusal(400, `${param}: ${what}`, { param, code: "unsupported_value" });
  };
  if (suffix) refuse("suffix", "text cannot be put in between");
  if (echo && logprobs !== undefined) refuse("echo", "log-probabilities of the prompt are not told");
  if (best !== undefined && best > n) refuse("best_of", "more answers than n are not written");
}

export function conversationOf({ messages }: ChatAsked): Message[] {
  return messages.map(({ role, content }) => ({ role: role === "developer" ? "system" : role, content }));
}

export function stopsOf({ stop }: { readonly stop: string | readonly string[] }): string[] {
  return [stop].flat().filter((text) => text !== "");
}

/** How tokens are drawn, but for the seed, of which every answer has its own. */
export function drawingOf(asked: ChatAsked | CompletionAsked): Omit<Sampling, "seed" | "maxTokens"> {
  return {
    temperature: asked.temperature,
    topK: asked.top_k,
    topP: asked.top_p,
    minP: asked.min_p,
    repetitionPenalty: asked.repetition_penalty,
    presencePenalty: asked.presence_penalty,
    frequencyPenalty: asked.frequency_penalty,
  };
}

/** Throws a Refusal where an id is not in the vocabulary. */
export function biasOf(given: Readonly<Record<string, number>>, vocabulary: number): Map<number, number> {
  return new Map(
    Object.entries(given).map(([id, value]) => {
      if (Number(id) >= vocabulary)
        throw new Refusal(400, `logit_bias: the vocabulary has ${vocabulary} tokens, and none is ${id}`, {
          param: "logit_bias",
        });
      return [Number(id), value];
    }),
  );
}
