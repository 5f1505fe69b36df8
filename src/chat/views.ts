/** What a chat tells of itself. */
import type { Sampling } from "../generate/sampling";
import type { Chat } from "./chat";
import { idsOf, lastAnswer } from "./talk";

const names: readonly (readonly [keyof Sampling, string])[] = [
  ["temperature", "temperature (/temp)"],
  ["topK", "top-k (/topk)"],
  ["topP", "top-p (/topp)"],
  ["minP", "min-p (/minp)"],
  ["repetitionPenalty", "repetition penalty (/penalty)"],
  ["maxTokens", "most tokens of an answer (/tokens)"],
  ["seed", "seed (/seed)"],
];

export function settingsLines({ settings }: Chat): string[] {
  return table(names.map(([key, name]) => [name, String(settings[key])]));
}

export function infoLines({ speaker, path, talk }: Chat): string[] {
  const { model, template, context, name, why, given } = speaker;
  const parameters = model.parameters.list.reduce((sum, { size }) => sum + size, 0);
  return table([
    ["model", `${name} (${given})`],
    ["chosen because", why],
    [
      "architecture",
      `${model.config.type}, ${model.config.layers} layers, ${model.config.heads} heads, width ${model.config.width}`,
    ],
    ["parameters", parameters.toLocaleString("en")],
    ["context", `${context} tokens`],
    ["vocabulary", `${model.config.vocabulary} tokens`],
    ["template", template ? "its own" : "none: a base model, which continues what is said"],
    ["device", speaker.device],
    ["saved in", talk.messages.length > 0 ? path : `${path}, once something is said`],
  ]);
}

const BAR = 30;

/** A line for each message, and how full the context is. */
export function contextLines({ speaker, talk, settings }: Chat): string[] {
  const { tokenizer, context } = speaker;
  const { messages, unseen, system } = talk;
  const used = messages.length + system.length > 0 ? idsOf(speaker, talk, lastAnswer(talk) !== null).length : 0;
  const share = Math.min(1, used / context);
  const full = Math.round(BAR * share);
  const lines = messages.map(({ role, content }, at) => {
    const mark = at < unseen ? "-" : " ";
    const tokens = `${tokenizer.encode(content).length}`.padStart(5);
    return `${mark}${String(at + 1).padStart(3)}  ${role.padEnd(9)} ${tokens}  ${line(content)}`;
  });
  return [
    ...(system ? [`     system    ${`${tokenizer.encode(system).length}`.padStart(5)}  ${line(system)}`] : []),
    ...lines,
    ...(unseen > 0
      ? [`the first ${unseen} of ${messages.length} messages (-) are not in the model's view any more`]
      : []),
    `[${"#".repeat(full)}${"-".repeat(BAR - full)}] ${used} of ${context} tokens (${Math.round(100 * share)}%), answers of at most ${settings.maxTokens}`,
  ];
}

const WIDTH = 56;

function line(text: string): string {
  const flat = text.replace(/\s+/g, " ").trim();
  return flat.length > WIDTH ? `${[...flat].slice(0, WIDTH - 1).join("")}…` : flat;
}

function table(rows: readonly (readonly [string, string])[]): string[] {
  const width = Math.max(...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `${left.padEnd(width)}  ${right}`);
}
