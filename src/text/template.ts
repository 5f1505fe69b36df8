/**
 * Chat templates: Jinja, as tokenizer_config.json keeps them, rendered to text in which it is known what the assistant says. The built-in
 * ones mark that by {% generation %}; of others it is found by rendering the turns before it.
 * https://huggingface.co/docs/transformers/chat_templating
 */
import { messageOf, UserError } from "../errors";
import { builtIn } from "./built-in";
import { tokenText } from "./files";
import { jinja, limits, TemplateLimitError } from "./jinja";
import { isMarked, markedRuns, type Run, withMarks, withoutMarks } from "./marks";
import type { Message } from "./message";
import { ANSWER, expectPrompts, expectWords, QUESTION, type Render, rolesLeftOut } from "./template-checks";
import type { Tokenizer } from "./tokenizer";

export type { Message } from "./message";
export { builtIn };

/** Tokens of a conversation, and of each whether the assistant is to learn it. */
export interface Encoded {
  readonly ids: number[];
  readonly trained: boolean[];
}

/** What a template puts behind an answer. */
export interface AnswerEnd {
  readonly text: string;
  /** The token that it is, where it is one; else it is plain text. */
  readonly id: number | null;
}

export interface ChatTemplate {
  readonly source: string;
  /** How an answer ends. Null where the template leaves it open: a model then does not learn to end its answers. */
  readonly end: AnswerEnd | null;
  /**
   * What is to be learned from a conversation; of the messages at the places `unlearned` nothing. Throws a UserError where the template
   * itself says no, cannot be rendered, leaves out words of a turn, or asks for answers by another text than it puts before them.
   */
  encode(messages: readonly Message[], unlearned?: readonly number[]): Encoded;
  /** The conversation so far, up to where the assistant speaks. Throws as `encode` does, but for what only training asks. */
  prompt(messages: readonly Message[]): number[];
  /** The conversation up to the last word of the assistant's answer that ends it, for an answer that is to go on. */
  unfinished(messages: readonly Message[]): number[];
}

/** The template that was saved with a tokenizer, if any. Throws a UserError where it is none that can be read. */
export function savedTemplate({ files }: Tokenizer): string | null {
  const saved = files.config.chat_template ?? null;
  if (saved === null || typeof saved === "string") return saved;
  // Several under names: as older files have them, and as transformers keeps them in memory.
  const named = Array.isArray(saved)
    ? saved.map((one: { name?: unknown; template?: unknown } | null) => [one?.name, one?.template])
    : typeof saved === "object"
      ? Object.entries(saved)
      : [[saved]];
  if (!named.every((pair) => pair.every((text) => typeof text === "string")))
    throw unknownTemplate("it is neither a text nor a list of names and templates");
  if (named.length === 0) return null;
  const [, template] = named.find(([name]) => name === "default") ?? [];
  if (typeof template === "string") return template;
  throw unknownTemplate(`none of its templates is the default: ${named.map(([name]) => name).join(", ")}`);
}

function unknownTemplate(why: string): UserError {
  return new UserError(`the model's chat_template cannot be used: ${why}`, {
    hint: `mend tokenizer_config.json, or choose a template: ${Object.keys(builtIn).join(", ")}, or a Jinja file`,
  });
}

/** Prepares a template for a tokenizer. Throws a UserError where it is not one. */
export function chatTemplate(source: string, tokenizer: Tokenizer): ChatTemplate {
  const end = tokenizer.endOfText === null ? null : tokenizer.token(tokenizer.endOfText);
  if (end === null)
    throw new UserError("the tokenizer has no end-of-text token, by which an answer could end", {
      hint: "train one by `dawngrad tokenizer train`",
    });
  const marked = isMarked(source);
  const fill = filler(source);
  const specials = specialTexts(tokenizer);
  const tokens = { bos_token: end, ...specialTokens(tokenizer), eos_token: end };
  const write: Render = (messages, prompt) =>
    fill({ messages, tools: null, documents: null, add_generation_prompt: prompt, ...tokens });
  const leftOut = rolesLeftOut((messages) => attempt(() => write(messages, false)));
  const render: Render = (messages, prompt) => {
    expectSize(messages);
    const shielded = messages.map((message) => shield(message, specials));
    const text = write(shielded, prompt);
    expectWords(shielded, withoutMarks(text), leftOut);
    return text;
  };
  const encodeRuns = (runs: readonly Run[]): Encoded => {
    const ids: number[] = [];
    const trained: boolean[] = [];
    for (const run of runs) {
      for (const id of tokenizer.encode(run.text, { special: true, shield: SHIELD })) {
        ids.push(id);
        trained.push(run.trained);
      }
    }
    return { ids, trained };
  };
  const split = (text: string, messages: readonly Message[]) =>
    marked ? markedRuns(text) : foundRuns(text, messages, render, end);
  const runsOf = (messages: readonly Message[]) => split(render(messages, false), messages);
  const endOf = (): AnswerEnd | null => {
    const text = endText(runsOf);
    if (text === null) return null;
    const ids = tokenizer.encode(text, { special: true });
    const one = tokenizer.added.some(({ content }) => content === text) && ids.length === 1;
    return { text, id: one ? ids[0]! : null };
  };
  let checked = false;
  return {
    source,
    end: endOf(),
    encode(messages, unlearned = []) {
      // Without marks what is trained begins where the prompt ends.
      if (marked && !checked) expectPrompts((messages, prompt) => attempt(() => write(messages, prompt)));
      checked = true;
      return encodeRuns(withoutThose(unlearned, runsOf(messages), messages));
    },
    prompt(messages) {
      const text = render(messages, true);
      // Parted as in training, so that the tokens are the same.
      const runs = attempt(() => split(text, messages)) ?? [{ text: withoutMarks(text), trained: false }];
      return encodeRuns(runs).ids;
    },
    unfinished(messages) {
      const runs = runsOf(messages);
      const last = runs.findLastIndex(({ trained }) => trained);
      const said = messages.at(-1)!.content;
      const at = last < 0 ? -1 : runs[last]!.text.lastIndexOf(said);
      if (at < 0) throw new UserError("the chat template changes the words of an answer, which cannot go on so");
      const open = { text: runs[last]!.text.slice(0, at + said.length), trained: true };
      return encodeRuns([...runs.slice(0, last), open]).ids;
    },
  };
}

/** What is made, or null where a UserError says that it cannot be. */
function attempt<T>(make: () => T): T | null {
  try {
    return make();
  } catch (error) {
    if (error instanceof UserError && !(error instanceof TemplateLimitError)) return null;
    throw error;
  }
}

/** Throws a UserError where a source is no template. */
export function expectTemplate(source: string): void {
  filler(source);
}

function filler(source: string): ReturnType<typeof jinja> {
  try {
    return jinja(withMarks(source));
  } catch (error) {
    if (error instanceof UserError) throw error;
    // The library looks for the next part where there is none.
    const why = error instanceof TypeError ? "it ends in the middle of a tag" : messageOf(error);
    throw new UserError(`the chat template cannot be read: ${why}`, {
      hint: `it must be Jinja; built in are ${Object.keys(builtIn).join(", ")}`,
      cause: error,
    });
  }
}

/** A character of a private-use area, put into what must not be read as a special token. */
const SHIELD = "\ue7f2";

/** Keeps what somebody writes from being read as a special token, or as a mark. */
function shield(message: Message, specials: readonly string[]): Message {
  const plain = (text: string) =>
    specials.reduce(
      (text, special) => text.replaceAll(special, special[0] + SHIELD + special.slice(1)),
      text.replace(/[\ue7f0-\ue7f2]/g, "\ufffd"),
    );
  return Object.fromEntries(
    Object.entries(message).map(([key, value]) => [key, key === "role" ? value : plain(value as string)]),
  ) as unknown as Message;
}

function expectSize(messages: readonly Message[]): void {
  const characters = messages.reduce((sum, { content }) => sum + content.length, 0);
  if (messages.length <= limits.messages && characters <= limits.conversation) return;
  throw new UserError(
    `the conversation has ${messages.length} turns of ${characters} characters in all, and ${limits.messages} of ${limits.conversation} are allowed`,
  );
}

/** Turns whose answers are not learned become text that is only read. */
function withoutThose(
  unlearned: readonly number[],
  runs: readonly Run[],
  messages: readonly Message[],
): readonly Run[] {
  if (unlearned.length === 0) return runs;
  const answers = messages.flatMap(({ role }, at) => (role === "assistant" ? [at] : []));
  const found = runs.filter(({ trained }) => trained).length;
  if (found !== answers.length) {
    throw new UserError(`the chat template marks ${found} parts of ${answers.length} answers`, {
      hint: "where some answers are not to be learned it must mark each as one part",
    });
  }
  let answer = 0;
  return runs.map((run) => (run.trained && unlearned.includes(answers[answer++]!) ? { ...run, trained: false } : run));
}

/** Without marks: what an assistant's turn adds to the prompt before it is what the assistant says. */
function foundRuns(whole: string, messages: readonly Message[], render: Render, close: string): Run[] {
  const runs: Run[] = [];
  let at = 0;
  messages.forEach(({ role }, i) => {
    if (role !== "assistant") return;
    const before = render(messages.slice(0, i), true);
    const closed = render(messages.slice(0, i + 1), false);
    // Some put an end token behind whole conversations, which a turn in the middle has not.
    const open = closed.endsWith(close) && whole.endsWith(close) && !whole.startsWith(closed);
    const after = open ? closed.slice(0, -close.length) : closed;
    if (!after.startsWith(before) || !whole.startsWith(after) || before.length < at) {
      throw new UserError("the chat template changes earlier turns when an answer is added", {
        hint: "mark what the assistant says by {% generation %} and {% endgeneration %}",
      });
    }
    runs.push({ text: whole.slice(at, before.length), trained: false });
    // White space behind the end token belongs to the form.
    const end = after.trimEnd().length;
    runs.push({ text: whole.slice(before.length, end), trained: true });
    at = end;
  });
  return [...runs, { text: whole.slice(at), trained: false }].filter(({ text }) => text !== "");
}

/** What is trained behind the words of an answer; null where that is nothing, or the template will not have such a conversation. */
function endText(runsOf: (messages: readonly Message[]) => readonly Run[]): string | null {
  const runs = attempt(() => runsOf([QUESTION, ANSWER]));
  const said = runs?.findLast(({ trained }) => trained)?.text;
  const at = said?.lastIndexOf(ANSWER.content) ?? -1;
  return at < 0 ? null : said!.slice(at + ANSWER.content.length).trim() || null;
}

/** The longest first, so that none is found inside another. */
export function specialTexts({ added }: Pick<Tokenizer, "added">): string[] {
  return added
    .filter(({ special }) => special)
    .map(({ content }) => content)
    .sort((a, b) => b.length - a.length);
}

/** The special tokens that tokenizer_config.json names, as transformers hands them to templates. */
function specialTokens({ files }: Tokenizer): Record<string, string> {
  const names = ["bos", "eos", "unk", "sep", "pad", "cls", "mask"].map((name) => `${name}_token`);
  return Object.fromEntries(
    names.flatMap((name) => {
      const text = tokenText(files.config[name]);
      return text === null ? [] : [[name, text]];
    }),
  );
}
