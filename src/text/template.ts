/**
 * Chat templates: Jinja, as tokenizer_config.json keeps them, rendered to text in which it is known what the assistant says. The built-in
 * ones mark that by {% generation %}; of others it is found by rendering the turns before it.
 * https://huggingface.co/docs/transformers/chat_templating
 */
import { Template } from "@huggingface/jinja";
import { messageOf, UserError } from "../errors";
import { tokenText } from "./files";
import type { Tokenizer } from "./tokenizer";

export interface Message {
  readonly role: "system" | "user" | "assistant";
  readonly content: string;
  /** Alpaca's parts of a user's turn, for templates that set them apart. */
  readonly instruction?: string;
  readonly input?: string;
}

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
  /** Throws a UserError where the template itself says no, or cannot be rendered. */
  encode(messages: readonly Message[]): Encoded;
  /** The conversation so far, up to where the assistant speaks. */
  prompt(messages: readonly Message[]): number[];
}

const ALPACA_WITH_INPUT =
  "Below is an instruction that describes a task, paired with an input that provides further context. Write a response that appropriately completes the request.";
const ALPACA =
  "Below is an instruction that describes a task. Write a response that appropriately completes the request.";

/**
 * `alpaca`: the words of https://github.com/tatsu-lab/stanford_alpaca. `instruction`: only its headings. `chat`: turns of plain text, for a
 * model whose vocabulary has no tokens for roles. All end every answer with the end-of-text token.
 */
export const builtIn: Readonly<Record<string, string>> = {
  alpaca: [
    "{% for message in messages %}",
    "{% if message.role == 'user' %}",
    "{% if loop.first %}",
    `{% if message.input %}{{ '${ALPACA_WITH_INPUT}\\n\\n' }}{% else %}{{ '${ALPACA}\\n\\n' }}{% endif %}`,
    "{% endif %}",
    "{% if message.input %}",
    "{{ '### Instruction:\\n' + message.instruction + '\\n\\n### Input:\\n' + message.input + '\\n\\n### Response:' }}",
    "{% else %}{{ '### Instruction:\\n' + message.content + '\\n\\n### Response:' }}{% endif %}",
    "{% elif message.role == 'assistant' %}",
    "{% generation %}{{ message.content + eos_token }}{% endgeneration %}",
    "{% if not loop.last %}{{ '\\n\\n' }}{% endif %}",
    "{% else %}{{ message.content + '\\n\\n' }}{% endif %}",
    "{% endfor %}",
  ].join(""),
  instruction: [
    "{% for message in messages %}",
    "{% if message.role == 'user' %}{{ '### Instruction:\\n' + message.content + '\\n\\n### Response:\\n' }}",
    "{% elif message.role == 'assistant' %}{% generation %}{{ message.content + eos_token }}{% endgeneration %}",
    "{% if not loop.last %}{{ '\\n\\n' }}{% endif %}",
    "{% else %}{{ message.content + '\\n\\n' }}{% endif %}",
    "{% endfor %}",
  ].join(""),
  chat: [
    "{% for message in messages %}",
    "{% if message.role == 'user' %}{{ 'User: ' + message.content + '\\n' }}",
    "{% elif message.role == 'assistant' %}",
    "{{ 'Assistant:' }}{% generation %}{{ ' ' + message.content + eos_token }}{% endgeneration %}{{ '\\n' }}",
    "{% else %}{{ message.content + '\\n\\n' }}{% endif %}",
    "{% endfor %}",
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}",
  ].join(""),
};

/** The template that was saved with a tokenizer, if any. */
export function savedTemplate({ files }: Tokenizer): string | null {
  const saved = files.config.chat_template;
  if (typeof saved === "string") return saved;
  // Several under names, as older files have them.
  const named = Array.isArray(saved) ? (saved as { name?: string; template?: string }[]) : [];
  return named.find(({ name }) => name === "default")?.template ?? null;
}

/** Prepares a template for a tokenizer. Throws a UserError where it is not one. */
export function chatTemplate(source: string, tokenizer: Tokenizer): ChatTemplate {
  const end = tokenizer.endOfText === null ? null : tokenizer.token(tokenizer.endOfText);
  if (end === null)
    throw new UserError("the tokenizer has no end-of-text token, by which an answer could end", {
      hint: "train one by `dawngrad tokenizer train`",
    });
  const marked = /{%-?\s*generation\s*-?%}/.test(source);
  let template: Template;
  try {
    template = new Template(source.replace(GENERATION, mark));
  } catch (error) {
    throw new UserError(`the chat template cannot be read: ${messageOf(error)}`, {
      hint: `it must be Jinja; built in are ${Object.keys(builtIn).join(", ")}`,
      cause: error,
    });
  }
  const specials = specialTexts(tokenizer);
  const begin = tokenText(tokenizer.files.config.bos_token) ?? end;
  const render = (messages: readonly Message[], prompt: boolean) => {
    const shielded = messages.map((message) => shield(message, specials));
    const context = { messages: shielded, add_generation_prompt: prompt, bos_token: begin, eos_token: end };
    try {
      return template.render(context);
    } catch (error) {
      throw new UserError(`the chat template fails: ${messageOf(error)}`, { cause: error });
    }
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
  const runsOf = (messages: readonly Message[]) => {
    const whole = render(messages, false);
    return marked ? markedRuns(whole) : foundRuns(whole, messages, render);
  };
  const endOf = (): AnswerEnd | null => {
    const text = endText(runsOf);
    if (text === null) return null;
    const ids = tokenizer.encode(text, { special: true });
    const one = tokenizer.added.some(({ content }) => content === text) && ids.length === 1;
    return { text, id: one ? ids[0]! : null };
  };
  return {
    source,
    end: endOf(),
    encode: (messages) => encodeRuns(runsOf(messages)),
    prompt: (messages) => encodeRuns([{ text: withoutMarks(render(messages, true)), trained: false }]).ids,
  };
}

// Characters of a private-use area stand for what must not be mistaken for text.
const OPEN = "\ue7f0";
const CLOSE = "\ue7f1";
const SHIELD = "\ue7f2";
const GENERATION = /{%(-?)\s*(end)?generation\s*(-?)%}/g;

/** A block, so that white space round it is trimmed as round the tag that it stands for. */
function mark(_: string, before: string, ends: string | undefined, after: string): string {
  return `{%${before} if true %}{{ "${ends ? CLOSE : OPEN}" }}{% endif ${after}%}`;
}

function withoutMarks(text: string): string {
  return text.replaceAll(OPEN, "").replaceAll(CLOSE, "");
}

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

interface Run {
  readonly text: string;
  readonly trained: boolean;
}

/** The runs between marks. */
function markedRuns(text: string): Run[] {
  return text.split(/([\ue7f0\ue7f1])/).reduce<{ runs: Run[]; inside: boolean }>(
    ({ runs, inside }, part) => {
      if (part === OPEN || part === CLOSE) return { runs, inside: part === OPEN };
      return { runs: part ? [...runs, { text: part, trained: inside }] : runs, inside };
    },
    { runs: [], inside: false },
  ).runs;
}

/** Without marks: what an assistant's turn adds to the prompt before it is what the assistant says. */
function foundRuns(
  whole: string,
  messages: readonly Message[],
  render: (messages: readonly Message[], prompt: boolean) => string,
): Run[] {
  const runs: Run[] = [];
  let at = 0;
  messages.forEach(({ role }, i) => {
    if (role !== "assistant") return;
    const before = render(messages.slice(0, i), true);
    const after = render(messages.slice(0, i + 1), false);
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
  const answer = "probe";
  try {
    const said = runsOf([
      { role: "user", content: "a" },
      { role: "assistant", content: answer },
    ]).findLast(({ trained }) => trained)?.text;
    const at = said?.lastIndexOf(answer) ?? -1;
    return at < 0 ? null : said!.slice(at + answer.length).trim() || null;
  } catch (error) {
    if (error instanceof UserError) return null;
    throw error;
  }
}

/** The longest first, so that none is found inside another. */
export function specialTexts({ added }: Pick<Tokenizer, "added">): string[] {
  return added
    .filter(({ special }) => special)
    .map(({ content }) => content)
    .sort((a, b) => b.length - a.length);
}
