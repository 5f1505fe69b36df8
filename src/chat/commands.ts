/** The commands of a chat. */
import { existsSync } from "node:fs";
import { UserError } from "../errors";
import { type Sampling, sampling } from "../generate/sampling";
import { nearest } from "../text/nearest";
import { askFor, type Chat, change, save, savedOf, write, writeAside } from "./chat";
import { chatPath, knownChats, newChatPath, readChat, writeChat } from "./saved";
import { lastAnswer, withMessage, withoutAnswer, withoutTurn } from "./talk";
import { contextLines, infoLines, settingsLines } from "./views";

interface Command {
  /** What may stand behind its name. */
  readonly takes?: string;
  readonly says: string;
  /** False where the chat is over. */
  readonly run: (chat: Chat, rest: string) => Promise<unknown> | unknown;
}

/** What leaves the chat. */
export const LEAVE = Symbol("leave");

function value(key: keyof Sampling, says: string): Command {
  return {
    takes: "[N]",
    says,
    run(chat, rest) {
      if (rest !== "") {
        const found = sampling.shape[key].safeParse(Number(rest));
        if (!found.success)
          throw new UserError(
            `${rest} is no value for this: ${found.error.issues[0]!.message.replace(/^Invalid input: /, "")}`,
            {
              hint: sampling.shape[key].meta()?.description ?? "a number",
            },
          );
        chat.settings = { ...chat.settings, [key]: found.data };
      }
      chat.console.note(`${says}: ${chat.settings[key]}`);
    },
  };
}

const commands: Readonly<Record<string, Command>> = {
  help: { says: "this list", run: (chat) => help(chat) },
  quit: { says: "leaves; so do /exit and Ctrl-D", run: () => LEAVE },
  reset: {
    says: "begins a new conversation; this one is kept",
    run(chat) {
      change(chat, { ...chat.talk, messages: [], unseen: 0 });
      chat.path = newChatPath();
      chat.console.note("a new conversation");
    },
  },
  temp: value("temperature", "temperature"),
  topk: value("topK", "top-k"),
  topp: value("topP", "top-p"),
  minp: value("minP", "min-p"),
  penalty: value("repetitionPenalty", "repetition penalty"),
  tokens: value("maxTokens", "most tokens of an answer"),
  seed: {
    ...value("seed", "seed"),
    run(chat, rest) {
      if (rest !== "") chat.answers = 0;
      return value("seed", "seed").run(chat, rest);
    },
  },
  system: {
    takes: "[TEXT]",
    says: "what the model is told first; - is nothing",
    run(chat, rest) {
      if (rest !== "") change(chat, { ...chat.talk, system: rest === "-" ? "" : rest });
      if (rest !== "" && !chat.speaker.template)
        chat.console.note("a base model is told nothing first: this waits for another");
      chat.console.note(chat.talk.system ? `system: ${chat.talk.system}` : "there is no system text");
    },
  },
  info: { says: "the model, the device, the files", run: (chat) => notes(chat, infoLines(chat)) },
  settings: { says: "how tokens are chosen", run: (chat) => notes(chat, settingsLines(chat)) },
  memory: {
    says: "what was said, and how much of the context it fills",
    run: (chat) => notes(chat, contextLines(chat)),
  },
  refine: {
    takes: "[HOW]",
    says: "the last answer again, better, with it in view",
    async run(chat, rest) {
      expectAnswers(chat);
      expectTemplate(chat);
      const how = rest ? ` (${rest})` : "";
      const better = await writeAside(chat, `Write your last answer again, and better${how}.`);
      if (better === null) return chat.remark("stopped before the first word: the last answer stays");
      change(chat, withMessage(withoutAnswer(chat.talk), "assistant", better));
      save(chat);
    },
  },
  multi: {
    takes: "N TASK",
    says: "does a task in N steps, and shows each",
    async run(chat, rest) {
      const [, count = "", task = ""] = /^(\d+)\s+([\s\S]+)$/.exec(rest) ?? [];
      const steps = Number(count);
      if (!(steps >= 1 && steps <= 20))
        throw new UserError("expected /multi N TASK, N from 1 to 20", { hint: "such as /multi 3 Tell of the mill." });
      expectTemplate(chat);
      const whole = chat.talk;
      const before = chat.before.length;
      for (let step = 1; step <= steps; step++) {
        chat.remark(`step ${step} of ${steps}`);
        const question = step === 1 ? `${task}\n\nDo this in ${steps} steps. Step 1:` : `Step ${step} of ${steps}:`;
        if (!(await askFor(chat, question))) break;
        if (chat.stopped) break;
      }
      // One thing for /undo.
      chat.before.length = before;
      if (chat.talk !== whole) chat.before.push(whole);
    },
  },
  regen: {
    says: "the last answer anew",
    async run(chat) {
      expectAnswers(chat);
      const before = chat.talk;
      change(chat, withoutAnswer(before));
      try {
        if ((await write(chat)) !== null) return;
        chat.remark("stopped before the first word: the last answer stays");
      } catch (error) {
        chat.talk = chat.before.pop()!;
        throw error;
      }
      chat.talk = chat.before.pop()!;
    },
  },
  undo: {
    says: "takes back the last change: a turn, /regen, /refine, /edit, /reset, /load, /system",
    run(chat) {
      const before = chat.before.pop();
      if (!before) throw new UserError("there is nothing to take back");
      chat.talk = before;
      save(chat);
      const count = before.messages.length;
      chat.console.note(
        `taken back: ${count === 0 ? "nothing is said yet" : `${count} messages, the last ${shortOf(before.messages.at(-1)!.content)}`}`,
      );
    },
  },
  edit: {
    says: "your last message in $VISUAL or $EDITOR, and asks it anew (Ctrl-G opens it for the line you write)",
    async run(chat) {
      const last = chat.talk.messages.findLast(({ role }) => role === "user");
      const text = chat.talker.edit(last?.content ?? "");
      if (text === null || text.trim() === "") return chat.console.note("nothing is changed");
      const before = chat.talk;
      const depth = chat.before.length;
      chat.talk = withoutTurn(before);
      try {
        if (await askFor(chat, text)) {
          chat.before.length = depth;
          chat.before.push(before);
          return;
        }
      } catch (error) {
        chat.talk = before;
        throw error;
      }
      chat.talk = before;
    },
  },
  continue: {
    says: "goes on with an answer that was cut off",
    async run(chat) {
      if (!chat.speaker.template && chat.talk.messages.length > 0 && !lastAnswer(chat.talk)) return write(chat);
      expectAnswers(chat);
      const before = chat.talk;
      if ((await write(chat, true)) !== null) chat.before.push(before);
    },
  },
  save: {
    takes: "[NAME]",
    says: "keeps a copy under a name or a path; every chat keeps itself",
    run(chat, rest) {
      if (chat.talk.messages.length === 0) throw new UserError("nothing is said yet, and nothing is to be saved");
      if (rest === "") {
        save(chat);
        return chat.console.note(`saved in ${chat.path}`);
      }
      const path = chatPath(rest);
      if (existsSync(path) && !chat.copies.has(path) && path !== chat.path)
        throw new UserError(`${path} is there already`, { hint: "choose another name" });
      writeChat(path, savedOf(chat));
      chat.copies.add(path);
      chat.console.note(`saved in ${path}`);
    },
  },
  load: {
    takes: "[NAME]",
    says: "goes on with a saved chat; alone it lists them",
    run(chat, rest) {
      if (rest === "") {
        const known = knownChats();
        const more = known.length > 20 ? [`and ${known.length - 20} more`] : [];
        return notes(
          chat,
          known.length ? [...known.slice(0, 20).map(({ name }) => name), ...more] : ["no chat is saved yet"],
        );
      }
      load(chat, chatPath(rest));
    },
  },
  model: {
    takes: "[NAME]",
    says: "talks to another model: a path, a kind (sft, dpo, ...), or a Hub name",
    async run(chat, rest) {
      if (rest === "") return chat.console.note(`${chat.speaker.name}: ${chat.speaker.why}`);
      const next = await chat.open(rest);
      const before = chat.speaker;
      chat.speaker = next;
      before[Symbol.dispose]();
      chat.written = null;
      // Another context may have room for what was left out.
      chat.talk = { ...chat.talk, unseen: 0 };
      chat.console.note(
        `${next.name}: ${next.why}${next.template ? "" : "; a base model, which continues what is said"}`,
      );
    },
  },
};

const aliases: ReadonlyMap<string, string> = new Map([
  ["exit", "quit"],
  ["?", "help"],
]);

/** Runs a line that begins with /. Returns LEAVE where it leaves. */
export async function runCommand(chat: Chat, line: string): Promise<unknown> {
  const [, word = "", rest = ""] = /^\/(\S*)\s*([\s\S]*)$/.exec(line) ?? [];
  const name = aliases.get(word.toLowerCase()) ?? word.toLowerCase();
  if (Object.hasOwn(commands, name)) return commands[name]!.run(chat, rest.trim());
  const near = nearest(name, Object.keys(commands));
  throw new UserError(`there is no command /${word}`, {
    hint: `${near ? `did you mean /${near}? ` : ""}/help lists them; a message that begins with / is written with //`,
  });
}

/** Goes on with a conversation from a file; the one before is kept in its own. */
export function load(chat: Chat, path: string): void {
  const { talk, settings, model } = readChat(path);
  const same = model === chat.speaker.given;
  change(chat, same ? talk : { ...talk, unseen: 0 });
  chat.path = newChatPath();
  if (settings) chat.settings = settings;
  const other = model && !same ? `; it was with ${model}, and goes on with ${chat.speaker.name}` : "";
  chat.console.note(`${talk.messages.length} messages from ${path}${other}`);
}

function help(chat: Chat): void {
  const rows = Object.entries(commands).map(([name, { takes, says }]) => [`/${name}${takes ? ` ${takes}` : ""}`, says]);
  const width = Math.max(...rows.map(([left]) => left!.length));
  notes(chat, [
    ...rows.map(([left, right]) => `${left!.padEnd(width)}  ${right}`),
    "",
    "Enter sends, Alt-Enter begins a new line (shown as ⏎), a pasted page is one message.",
    "Ctrl-C stops an answer; once more, or Ctrl-D, leaves. Ctrl-G opens $EDITOR. // begins a message with /.",
  ]);
}

function notes(chat: Chat, lines: readonly string[]): void {
  chat.console.note(lines.join("\n"));
}

function expectAnswers({ talk }: Chat): void {
  if (!lastAnswer(talk)) throw new UserError("there is no answer yet", { hint: "say something first" });
}

function expectTemplate({ speaker }: Chat): void {
  if (!speaker.template)
    throw new UserError(`${speaker.name} is a base model: it continues what is said, and cannot be asked for this`, {
      hint: "/model takes another, such as /model sft",
    });
}

export function shortOf(text: string, width = 60): string {
  const line = text.replace(/\s+/g, " ").trim();
  return JSON.stringify(line.length > width ? `${line.slice(0, width - 1)}…` : line);
}
