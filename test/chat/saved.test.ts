/** Conversations on disk: one's own come back as they were, others' are read, and what is none is said to be none. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { chatPath, knownChats, newChatPath, parseChat, readChat, writeChat } from "../../src/chat/saved";
import { sampling } from "../../src/generate/sampling";
import { temporaryFolder } from "../support/folder";

let folder: ReturnType<typeof temporaryFolder>;
const before = process.env.XDG_STATE_HOME;
beforeEach(() => {
  folder = temporaryFolder();
  process.env.XDG_STATE_HOME = folder.path;
});
afterEach(() => {
  folder[Symbol.dispose]();
  if (before === undefined) delete process.env.XDG_STATE_HOME;
  else process.env.XDG_STATE_HOME = before;
});

const talk = {
  system: "Be kind.",
  unseen: 2,
  messages: [
    { role: "user", content: "a\nb 日本" },
    { role: "assistant", content: "" },
    { role: "user", content: "c" },
  ],
} as const;

describe("a saved chat", () => {
  test("comes back as it was, and nobody else may read it", () => {
    const path = newChatPath();
    const saved = { talk, settings: sampling.parse({ seed: 3 }), model: "runs/a/sft" };
    writeChat(path, saved);
    expect(readChat(path)).toEqual(saved);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(statSync(join(folder.path, "dawngrad")).mode & 0o777).toBe(0o700);
    expect(newChatPath()).not.toBe(path);
    expect(knownChats().map((known) => known.path)).toEqual([path]);
  });

  test("is found by its name or a path", () => {
    expect(chatPath("x")).toBe(join(folder.path, "dawngrad", "chats", "x.json"));
    expect(chatPath("./x")).toBe("./x");
    expect(chatPath("x.json")).toBe("x.json");
  });
});

describe("from elsewhere", () => {
  test("a list of messages, with the system's first and parts of text", () => {
    const messages = [
      { role: "developer", content: "Be kind." },
      { role: "user", content: [{ type: "text", text: "a" }, "b"] },
      { role: "assistant", content: "c", name: "x", extra: 1 },
    ];
    const wanted = {
      system: "Be kind.",
      unseen: 0,
      messages: [
        { role: "user", content: "ab" },
        { role: "assistant", content: "c" },
      ],
    };
    expect(parseChat(JSON.stringify(messages), "x").talk).toEqual(wanted as never);
    expect(parseChat(JSON.stringify({ id: 1, messages }), "x").talk).toEqual(wanted as never);
  });

  test.each([
    ["", "x is not JSON"],
    ["{", "x is not JSON"],
    ["3", "x is no conversation: expected object"],
    ["{}", "x is no conversation: messages: expected array"],
    ['[{"role":"tool","content":"a"}]', "x is no conversation: messages.0.role: expected system, user or assistant"],
    ['[{"role":"user","content":null}]', "x is no conversation: messages.0.content: expected a text"],
    ['[{"role":"user","content":[{"type":"image_url"}]}]', "x is no conversation: messages.0.content: expected a text"],
    ["[null]", "x is no conversation: messages.0: expected object"],
    ['{"messages":[],"settings":{"temperature":-1}}', "x is no conversation: settings.temperature: Too small"],
  ])("%s is refused in one sentence", (text, message) => {
    expect(() => parseChat(text, "x")).toThrow(message);
  });

  test("a folder and a file that is not there are refused", () => {
    mkdirSync(join(folder.path, "d.json"));
    expect(() => readChat(join(folder.path, "d.json"))).toThrow("it is a folder");
    expect(() => readChat(join(folder.path, "none.json"))).toThrow("there is no such file");
    writeFileSync(join(folder.path, "b.json"), Buffer.from([0xff, 0x00, 0x80]));
    expect(() => readChat(join(folder.path, "b.json"))).toThrow("is not text in UTF-8");
  });
});
