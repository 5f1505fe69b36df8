/** `dawngrad chat`: a conversation with a model, in the terminal. */

import { randomInt } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { defineCommand } from "citty";
import { findModel, shortName } from "../app/find-model";
import { openOn } from "../app/open";
import { type OpenSpeaker, speaker, templateOf } from "../app/speaker";
import { askFor, guarded, newChat } from "../chat/chat";
import { LEAVE, load, runCommand } from "../chat/commands";
import { historyFile, knownChats, readChat, writePrivate } from "../chat/saved";
import { answering } from "../chat/talk";
import { piped, terminal } from "../chat/terminal";
import { UserError } from "../errors";
import { sampling } from "../generate/sampling";
import { mayColour, openConsole } from "../log/console";
import { flagsOf } from "./flags";
import { modelArgs, openingBy } from "./open";
import { all, openFor } from "./options";
import { print } from "./print";

const flags = flagsOf(
  sampling,
  {
    temperature: "temperature",
    "top-k": "topK",
    "top-p": "topP",
    "min-p": "minP",
    "repetition-penalty": "repetitionPenalty",
    "max-tokens": "maxTokens",
    seed: { path: "seed", says: "the same seed and messages give the same answers; random if absent" },
  },
  {
    temperature: answering.temperature,
    "top-k": answering.topK,
    "top-p": answering.topP,
    "max-tokens": answering.maxTokens,
  },
);

export default defineCommand({
  meta: { name: "chat", description: "talks with a model in the terminal" },
  args: {
    model: {
      type: "string",
      description: "a path, a Hub name, or a kind of stage such as sft or dpo; the best under runs/ if absent",
    },
    system: { type: "string", description: "what the model is told first" },
    continue: { type: "boolean", description: "goes on with the last chat" },
    template: {
      type: "string",
      default: "auto",
      description: "auto (the model's own), alpaca, instruction, chat, or a Jinja file",
    },
    ...flags.args,
    ...modelArgs,
  },
  async run({ args, rawArgs }) {
    const console = openConsole();
    const parsed = flags.parse(args, rawArgs);
    const seed = all(rawArgs, "seed").length > 0 ? parsed.seed : randomInt(2 ** 32);
    const last = args.continue ? knownChats()[0] : undefined;
    if (args.continue && !last)
      throw new UserError("no chat was kept that could be continued", { hint: "leave out --continue" });
    using device = openFor(args, console);
    const open = async (wanted: string | undefined, more = openingBy(args, [])): Promise<OpenSpeaker> => {
      const found = findModel(wanted);
      const opened = await openOn(device, found.given, console, { ...more, wanted: "policy" });
      try {
        const made = speaker(device, opened, {
          name: shortName(found.given),
          template: templateOf(args.template, opened.tokenizer),
          slots: 1,
          queue: 0,
        });
        const { name, kind } = device.info;
        return {
          ...made,
          ...found,
          device: `${name} (${kind})`,
          [Symbol.dispose]() {
            made[Symbol.dispose]();
            opened[Symbol.dispose]();
          },
        };
      } catch (error) {
        opened[Symbol.dispose]();
        throw error;
      }
    };
    const before = last && args.model === undefined ? readChat(last.path).model : null;
    const first = await open(
      args.model ?? (before !== null && existsSync(before) ? before : undefined),
      openingBy(args, rawArgs),
    );
    const interactive = process.stdin.isTTY === true && process.stdout.isTTY === true;
    const dim = (text: string) => (console.colour ? `\x1b[2m${text}\x1b[0m` : text);
    using talker = interactive
      ? terminal({ history: readHistory(), remembered: writeHistory, note: console.note })
      : piped();
    const chat = newChat({
      speaker: first,
      settings: { ...parsed, seed },
      talker,
      console,
      show: print,
      remark: (text) => console.note(dim(text)),
      open: (name) => open(name),
    });
    using _open = { [Symbol.dispose]: () => chat.speaker[Symbol.dispose]() };
    console.note(`${first.name}: ${first.why}${first.template ? "" : "; a base model: it continues what you write"}`);
    if (last) {
      load(chat, last.path);
      chat.path = last.path;
    }
    if (args.system !== undefined) chat.talk = { ...chat.talk, system: args.system };
    if (interactive) console.note(dim("/help lists the commands, Ctrl-D leaves"));
    for (;;) {
      const line = await talker.next();
      if (line === null) break;
      if (line.trim() === "") continue;
      let leaves = false;
      await guarded(chat, async () => {
        if (line.startsWith("/") && !line.startsWith("//")) leaves = (await runCommand(chat, line)) === LEAVE;
        else await askFor(chat, line.startsWith("//") ? line.slice(1) : line);
      });
      if (leaves) break;
    }
    if (interactive && mayColour(process.stdout)) print("\x1b[0m");
  },
});

/** What was typed before, the newest first. */
function readHistory(): string[] {
  try {
    return readFileSync(historyFile(), "utf8").split("\n").filter(Boolean);
  } catch {
    return []; // nothing was typed yet, or it may not be read
  }
}

function writeHistory(lines: readonly string[]): void {
  try {
    writePrivate(historyFile(), `${lines.join("\n")}\n`);
  } catch {
    // A disk that is full takes away what was typed before, and nothing else.
  }
}
