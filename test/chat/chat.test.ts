/** A chat, line by line: what is kept, what the model sees, and what each command does. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { OpenSpeaker } from "../../src/app/speaker";
import { askFor, type Chat, guarded, newChat } from "../../src/chat/chat";
import { LEAVE, runCommand } from "../../src/chat/commands";
import { readChat } from "../../src/chat/saved";
import { fitted, idsOf, seen } from "../../src/chat/talk";
import type { Talker } from "../../src/chat/terminal";
import { sampling } from "../../src/generate/sampling";
import { temporaryFolder } from "../support/folder";
import { toySpeaker } from "../support/talking";

const folder = temporaryFolder();
const before = process.env.XDG_STATE_HOME;
let model: OpenSpeaker;
let base: OpenSpeaker;
beforeAll(() => {
  process.env.XDG_STATE_HOME = folder.path;
  model = toySpeaker();
  base = toySpeaker({ template: null });
});
afterAll(() => {
  model[Symbol.dispose]();
  base[Symbol.dispose]();
  folder[Symbol.dispose]();
  if (before === undefined) delete process.env.XDG_STATE_HOME;
  else process.env.XDG_STATE_HOME = before;
});

const settings = sampling.parse({ temperature: 1, topK: 0, maxTokens: 12, seed: 5 });
let shown = "";
let told: string[] = [];
/** Aborts an answer when so many pieces were shown. */
let stopAfter = Number.POSITIVE_INFINITY;
let edited: string | null = null;

beforeEach(() => {
  shown = "";
  told = [];
  stopAfter = Number.POSITIVE_INFINITY;
});

function begin(speaker = model, more: Partial<Chat> = {}): Chat {
  let stop: AbortController | null = null;
  let pieces = 0;
  const talker: Talker = {
    next: async () => null,
    listen() {
      const controller = new AbortController();
      stop = controller;
      pieces = 0;
      if (stopAfter === 0) controller.abort();
      return { signal: controller.signal, [Symbol.dispose]() {} };
    },
    edit: () => edited,
    [Symbol.dispose]() {},
  };
  const note = (text: string) => void told.push(text);
  return newChat({
    speaker,
    settings,
    talker,
    console: { colour: false, note, status() {}, done() {} },
    show(text) {
      shown += text;
      if (++pieces >= stopAfter) stop?.abort();
    },
    remark: note,
    open: async () => toySpeaker({ template: null }),
    ...more,
  });
}

async function enter(chat: Chat, ...lines: readonly string[]): Promise<void> {
  for (const line of lines)
    await guarded(chat, async () => {
      if (line.startsWith("/")) await runCommand(chat, line);
      else await askFor(chat, line);
    });
}

const contents = ({ talk }: Chat) => talk.messages.map(({ content }) => content);

describe("an answer", () => {
  test("is shown as it is kept, and the next turn feeds only what is new", async () => {
    const kept: number[] = [];
    const chat = begin();
    const { submit } = chat.speaker.queue;
    chat.speaker.queue.submit = function (request) {
      return submit.call(this, { ...request, begun: (count) => void kept.push(request.ids.length - count) });
    };
    await enter(chat, "Hello there", "And you?", "Well.");
    chat.speaker.queue.submit = submit;
    expect(
      contents(chat)
        .filter((_, i) => i % 2 === 1)
        .join("\n"),
    ).toBe(
      shown
        .split("\n")
        .map((line) => line.trim())
        .join("\n")
        .trim(),
    );
    // The question, what stands round it, and at most the last token that was drawn.
    expect(kept[1]!).toBeLessThanOrEqual("\nUser: And you?\nAssistant:".length + 2);
    expect(kept[2]!).toBeLessThanOrEqual("\nUser: Well.\nAssistant:".length + 2);
  });

  test("is the same by the same seed, and another by /regen", async () => {
    const [a, b] = [begin(), begin()];
    await enter(a, "Hello");
    await enter(b, "Hello");
    expect(contents(a)).toEqual(contents(b));
    await enter(a, "/regen");
    expect(contents(a)).not.toEqual(contents(b));
    await enter(a, "/undo");
    expect(contents(a)).toEqual(contents(b));
    await enter(a, "/undo");
    expect(contents(a)).toEqual([]);
  });

  test("that is stopped keeps what was shown; before the first word the question is taken back", async () => {
    const chat = begin();
    stopAfter = 3;
    await enter(chat, "Hello");
    expect(contents(chat)).toEqual(["Hello", shown.trim()]);
    expect(told.at(-1)).toStartWith("stopped, ");
    stopAfter = 0;
    await enter(chat, "Again");
    expect(contents(chat).length).toBe(2);
    expect(told.at(-1)).toContain("the question is taken back");
  });

  test("that was cut off goes on to what it would have been", async () => {
    const [whole, cut] = [begin(), begin()];
    whole.settings = { ...settings, temperature: 0, maxTokens: 24 };
    cut.settings = { ...settings, temperature: 0 };
    await enter(whole, "Hello");
    await enter(cut, "Hello", "/continue");
    expect(contents(cut)).toEqual(contents(whole));
    await enter(cut, "/undo");
    expect(contents(whole)[1]).toStartWith(contents(cut)[1]!);
  });
});

describe("a talk beyond the context", () => {
  test("leaves out the oldest turns until half is free, says so, and keeps them", async () => {
    const chat = begin();
    let filled = 0;
    for (let turn = 0; turn < 12; turn++) {
      const view = idsOf(model, chat.talk, chat.talk.messages.length > 0 && true).length;
      const unseen = chat.talk.unseen;
      await enter(chat, `This is turn ${turn}.`);
      if (chat.talk.unseen > unseen) {
        filled++;
        expect(view + 40).toBeGreaterThan(model.context - 40);
        expect(idsOf(model, chat.talk, true).length).toBeLessThanOrEqual(model.context / 2 + 20);
        expect(seen(chat.talk)[0]!.role).toBe("user");
      }
    }
    expect(filled).toBeGreaterThan(1);
    expect(told.filter((line) => line.startsWith("the context is full: the oldest")).length).toBe(filled);
    expect(chat.talk.messages.length).toBe(24);
    expect(readChat(chat.path).talk).toEqual(chat.talk);
  });

  test("of one message alone is refused, and the chat goes on", async () => {
    const chat = begin();
    await enter(chat, "a".repeat(300));
    expect(told.at(-1)).toStartWith("error: this message has ");
    expect(contents(chat)).toEqual([]);
    await enter(chat, "Hello");
    expect(contents(chat).length).toBe(2);
  });

  test("of a base model goes on from the later half", () => {
    const messages = [{ role: "user", content: "a".repeat(1000) }] as const;
    expect(fitted(base, { system: "", messages, unseen: 0 }, 12).ids.length).toBe(base.context / 2);
  });
});

describe("commands", () => {
  test("set and show what tokens are drawn by, and refuse what is no value", async () => {
    const chat = begin();
    await enter(chat, "/temp 0.5", "/topk 7", "/topp 0.8", "/minp 0.1", "/penalty 1.2", "/tokens 9", "/seed 8");
    expect(chat.settings).toMatchObject({
      ...{ temperature: 0.5, topK: 7, topP: 0.8, minP: 0.1, repetitionPenalty: 1.2, maxTokens: 9, seed: 8 },
    });
    told = [];
    await enter(chat, "/temp hot", "/topk -1", "/tokens 0", "/topp 2", "/seed 1.5", "/temp");
    expect(told.slice(0, 5).every((line) => /^error: .* is no value for this: .*\nhint: /.test(line))).toBe(true);
    expect(told[5]).toBe("temperature: 0.5");
    await enter(chat, "/settings");
    expect(told.at(-1)).toContain("top-k (/topk)                       7");
  });

  test("that do not exist are answered", async () => {
    const chat = begin();
    await enter(chat, "/hlep", "/", "/usr/bin", "/__proto__", "/constructor");
    expect(told.length).toBe(5);
    expect(told[0]).toContain("did you mean /help?");
    expect(told.every((line) => line.startsWith("error: there is no command /"))).toBe(true);
  });

  test("each of the list run, at the beginning and after a turn", async () => {
    const listed = begin();
    await enter(listed, "/help");
    const names = [...told[0]!.matchAll(/^\/(\w+)/gm)].map(([, name]) => name!);
    const wanted = "help quit reset temp topk topp minp penalty tokens seed system info settings memory refine multi";
    expect(names).toEqual([...wanted.split(" "), ..."regen undo edit continue save load model".split(" ")]);
    for (const name of names) {
      for (const first of [[], ["Hello"]]) {
        const chat = begin(toySpeaker());
        edited = null;
        await enter(chat, ...first, `/${name}`);
        chat.speaker[Symbol.dispose]();
      }
    }
    expect(await runCommand(listed, "/exit")).toBe(LEAVE);
  });

  test("/refine puts a better answer in the place of the last", async () => {
    const chat = begin();
    await enter(chat, "Hello");
    const [, first] = contents(chat);
    await enter(chat, "/refine shorter");
    expect(contents(chat)[0]).toBe("Hello");
    expect(contents(chat).length).toBe(2);
    expect(contents(chat)[1]).not.toBe(first);
    await enter(chat, "/undo");
    expect(contents(chat)[1]).toBe(first!);
  });

  test("/multi shows every step, and is taken back as one", async () => {
    const chat = begin();
    await enter(chat, "/multi 3 Count.");
    expect(contents(chat).filter((_, i) => i % 2 === 0)).toEqual([
      "Count.\n\nDo this in 3 steps. Step 1:",
      "Step 2 of 3:",
      "Step 3 of 3:",
    ]);
    expect(told.filter((line) => line.startsWith("step "))).toEqual(["step 1 of 3", "step 2 of 3", "step 3 of 3"]);
    await enter(chat, "/undo");
    expect(contents(chat)).toEqual([]);
    await enter(chat, "/multi", "/multi x", "/multi 0 a", "/multi 99 a");
    expect(told.slice(-4).every((line) => line.startsWith("error: expected /multi N TASK"))).toBe(true);
  });

  test("/edit asks the last message anew", async () => {
    const chat = begin();
    await enter(chat, "Hello", "More");
    edited = "Less";
    await enter(chat, "/edit");
    expect(contents(chat).filter((_, i) => i % 2 === 0)).toEqual(["Hello", "Less"]);
    await enter(chat, "/undo");
    expect(contents(chat)[2]).toBe("More");
    edited = null;
  });

  test("/system changes what the model is told first", async () => {
    const chat = begin();
    await enter(chat, "/system Be kind.", "Hello");
    expect(seen(chat.talk)[0]).toEqual({ role: "system", content: "Be kind." });
    await enter(chat, "/system -");
    expect(seen(chat.talk)[0]!.role).toBe("user");
  });

  test("/save keeps a copy and replaces nobody's; /load goes on; /reset begins anew", async () => {
    const chat = begin();
    await enter(chat, "/save");
    expect(told.at(-1)).toStartWith("error: nothing is said yet");
    await enter(chat, "Hello", "/save mine", "/reset");
    expect(contents(chat)).toEqual([]);
    const file = join(folder.path, "dawngrad", "chats", "mine.json");
    expect(JSON.parse(readFileSync(file, "utf8"))).toMatchObject({
      model: "toy",
      messages: [{ content: "Hello" }, {}],
    });
    const other = begin();
    await enter(other, "World", "/save mine");
    expect(told.at(-1)).toStartWith(`error: ${file} is there already`);
    const own = other.path;
    await enter(other, "/load mine");
    expect(contents(other)[0]).toBe("Hello");
    expect(readChat(own).talk.messages[0]!.content).toBe("World");
    await enter(other, "/load nowhere", "/undo");
    expect(contents(other)[0]).toBe("World");
    await enter(other, "/load");
    expect(told.at(-1)).toContain("mine");
  });

  test("/memory tells every message and how full the context is", async () => {
    const chat = begin();
    await enter(chat, "Hello", "/memory");
    expect(told.at(-1)).toMatch(
      /^ {3}1 {2}user +5 {2}Hello\n {3}2 {2}assistant +\d+ {2}.*\n\[#+-+\] \d+ of 256 tokens \(\d+%\)/,
    );
  });

  test("/model goes on with another, and stays where there is none", async () => {
    const chat = begin(toySpeaker());
    await enter(chat, "Hello", "/model other", "More");
    expect(contents(chat).length).toBe(4);
    expect(told.some((line) => line.includes("a base model, which continues"))).toBe(true);
    await enter(chat, "/refine");
    expect(told.at(-1)).toContain("is a base model");
    chat.speaker[Symbol.dispose]();
    const still = begin(model, { open: () => Promise.reject(new Error("no")) });
    await expect(runCommand(still, "/model x")).rejects.toThrow("no");
    expect(still.speaker).toBe(model);
  });
});

test("a base model continues what is said, word for word", async () => {
  const chat = begin(base);
  chat.settings = { ...settings, temperature: 0 };
  await enter(chat, "Once", "/continue");
  const joined = contents(chat).join("");
  expect(joined.length).toBe("Once".length + 24);
  expect(idsOf(base, chat.talk)).toEqual(base.tokenizer.encode(joined));
});

test("a disk that will not have a chat ends no chat", async () => {
  const chat = begin();
  chat.path = "/proc/none/x.json";
  await enter(chat, "Hello");
  expect(contents(chat).length).toBe(2);
  expect(told.some((line) => line.startsWith("this chat could not be saved: "))).toBe(true);
  expect(existsSync(chat.path)).toBe(false);
});
