/** Conversations with a model that a program opens: what is said, seen, kept and taken back. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { type Conversation, DawngradError, type LanguageModel, open } from "dawngrad";
import { completeAll, endingWith } from "../../src/app/complete";
import { type OpenModel, openModel } from "../../src/app/model";
import { openDevice } from "../../src/device/open";
import { sampling } from "../../src/generate/sampling";
import { answerEnds } from "../../src/text/answer";
import type { Message } from "../../src/text/message";
import { builtIn, chatTemplate } from "../../src/text/template";
import { temporaryFolder } from "../support/folder";
import { writeToy } from "../support/talking";

const folder = temporaryFolder();
const [toy, base] = ["toy", "base"].map((name) => join(folder.path, name)) as [string, string];
const device = openDevice("cpu");
let inner: OpenModel;
let model: LanguageModel;

beforeAll(async () => {
  await writeToy(toy);
  await writeToy(base, { template: null });
  inner = await openModel(device, toy);
  model = await open(toy, { device: "cpu" });
});
afterAll(() => {
  for (const one of [model, inner, device, folder]) one[Symbol.dispose]();
});

const greedy = { temperature: 0, maxTokens: 20 };

/** What the engine writes behind a conversation, by its template. */
async function answerTo(messages: readonly Message[]): Promise<string> {
  const template = chatTemplate(builtIn.chat!, inner.tokenizer);
  const options = endingWith(answerEnds(inner.tokenizer, template), sampling.parse(greedy));
  const [answer] = await completeAll(inner, [template.prompt(messages)], options);
  return answer!.text.trim();
}

test("an answer is what the model writes behind all that was said, in its template, and is said by the command line too", async () => {
  const chat = model.chat({ ...greedy, system: "Be kind." });
  const said: Message[] = [{ role: "system", content: "Be kind." }];
  for (const question of ["Who is Pip?", "And Ada?"]) {
    said.push({ role: "user", content: question });
    const { text, reason, tokens } = await chat.say(question);
    expect(text).toBe(await answerTo(said));
    expect([reason, tokens]).toEqual(["length", 20]);
    said.push({ role: "assistant", content: text });
    expect(chat.messages).toEqual(said.slice(1));
  }
  const words = ["--model", toy, "--chat", "--temperature", "0", "--max-tokens", "20", "--prompt", "Who is Pip?"];
  const command = [process.execPath, "src/main.ts", "generate", ...words, "--device", "cpu"];
  expect(Bun.spawnSync(command).stdout.toString().trim()).toBe((await model.chat(greedy).say("Who is Pip?")).text);
});

test("an answer that is streamed is the same, and is kept once it has ended", async () => {
  const [chat, other] = [model.chat({ seed: 5 }), model.chat({ seed: 5 })];
  const whole = await other.say("Who is Pip?");
  const stream = chat.stream("Who is Pip?");
  let text = "";
  for await (const piece of stream) {
    expect(chat.messages).toEqual(text === "" ? [] : chat.messages);
    text += piece;
  }
  expect(text).toBe(whole.text);
  expect(stream.completion).toEqual(whole);
  expect(chat.messages).toEqual(other.messages);
});

test("an answer that is stopped leaves the conversation as it was, and the next one as it would have been", async () => {
  const chat = model.chat({ ...greedy, maxTokens: 100 });
  await chat.say("Who is Pip?");
  const before = chat.messages;
  for await (const _ of chat.stream("And Ada?")) break;
  expect(chat.messages).toBe(before);
  const aborting = new AbortController();
  const stopped = chat.say("And Ada?", { signal: aborting.signal });
  setImmediate(() => aborting.abort());
  await expect(stopped).rejects.toThrow(aborting.signal.reason);
  expect(chat.messages).toBe(before);
  const other = model.chat({ ...greedy, maxTokens: 100, messages: [...before] as { role: "user"; content: string }[] });
  expect(await chat.say("And Ada?")).toEqual(await other.say("And Ada?"));
});

test("two questions at once are answered one after the other, and conversations know nothing of one another", async () => {
  const [chat, other] = [model.chat(greedy), model.chat(greedy)];
  const [one, elsewhere, two] = await Promise.all([chat.say("Who?"), other.say("Where?"), chat.say("Why?")]);
  const told = (...messages: string[]) =>
    messages.map((content, i): Message => ({ role: i % 2 === 0 ? "user" : "assistant", content }));
  expect(chat.messages).toEqual(told("Who?", one.text, "Why?", two.text));
  expect(other.messages).toEqual(told("Where?", elsewhere.text));
  expect(two.text).toBe(await answerTo(told("Who?", one.text, "Why?")));
});

test("a turn is taken back", async () => {
  const chat = model.chat(greedy);
  const first = await chat.say("Who?");
  await chat.say("Why?");
  chat.undo();
  expect(chat.messages.map(({ content }) => content)).toEqual(["Who?", first.text]);
});

test("where the context is full the oldest turns are no longer seen, and still kept", async () => {
  const chat = model.chat(greedy);
  for (let turn = 0; turn < 6; turn++) await chat.say(`What is ${"very ".repeat(5)}long?`);
  expect(chat.messages).toHaveLength(12);
  expect(chat.unseen).toBeGreaterThan(0);
  expect(chat.unseen).toBeLessThan(12);
});

test("a model without a template continues what was said", async () => {
  using plain = await open(base, { device: "cpu" });
  const { text } = await plain.generate("Pip ", greedy);
  expect((await plain.chat(greedy).say("Pip ")).text).toBe(text);
  const templated = await plain.chat({ ...greedy, template: "chat" }).say("Pip ");
  expect(templated.text).not.toBe(text);
});

test.each<[string, (model: LanguageModel) => Conversation | Promise<unknown>]>([
  ["messages[0].role", (m) => m.chat({ messages: [{ role: "robot" as "user", content: "" }] })],
  ["maxtokens: unknown key; did you mean maxTokens?", (m) => m.chat({ maxtokens: 3 } as object)],
  ["seed: unknown key", (m) => m.chat().say("a", { seed: 1 } as object)],
  ["this message has", (m) => m.chat().say("a".repeat(300))],
])("a mistake is told in a sentence: %s", async (sentence, mistake) => {
  const error = await (async () => mistake(model))().catch((error: unknown) => error);
  expect(error).toBeInstanceOf(DawngradError);
  expect((error as DawngradError).message).toStartWith(sentence);
});
