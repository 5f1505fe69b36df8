/** Streams, event by event: what clients take apart must be there, and nothing that they would trip over. */
import { afterAll, describe, expect, test } from "bun:test";
import { trainBpe } from "../../src/text/bpe";
import { builtIn } from "../../src/text/template";
import { tokenizerFrom, withTemplate } from "../../src/text/tokenizer";
import { CHAT, COMPLETIONS, eventsOf, say, served, textOf, told } from "../support/served";
import { toySpeaker } from "../support/talking";

const bytes = withTemplate(tokenizerFrom(trainBpe(["a small text"], { size: 257 })), builtIn.chat!);
const server = served([toySpeaker({ slots: 4, queue: 8 })]);
const byteServer = served([toySpeaker({ slots: 4, queue: 8, tokenizer: bytes })]);
afterAll(async () => {
  expect([...server.bugs, ...byteServer.bugs]).toEqual([]);
  await server[Symbol.asyncDispose]();
  await byteServer[Symbol.asyncDispose]();
});
const { post } = server;
const asked = { messages: say("hello there"), max_tokens: 12, seed: 7, temperature: 1 };

describe("the chunks of a chat", () => {
  test("begin with the role, end with a reason alone, and are the whole answer", async () => {
    const whole = await told(post(CHAT, asked));
    const response = await post(CHAT, { ...asked, stream: true });
    expect(response.headers.get("content-type")).toStartWith("text/event-stream");
    const events = await eventsOf(response);
    expect(new Set(events.map(({ id }) => id)).size).toBe(1);
    for (const { object, choices } of events) {
      expect(object).toBe("chat.completion.chunk");
      expect(choices.length).toBe(1);
    }
    expect(events[0]!.choices[0]).toMatchObject({
      index: 0,
      delta: { role: "assistant", content: "" },
      finish_reason: null,
    });
    expect(events.at(-1)!.choices[0]).toMatchObject({ index: 0, delta: {}, finish_reason: "length" });
    for (const { choices } of events.slice(0, -1)) expect(choices[0]!.finish_reason).toBeNull();
    expect(textOf(events)).toBe(whole.choices[0]!.message!.content);
    expect(events.some((event) => "usage" in event)).toBe(false);
  });

  test("tell usage in one chunk without choices, where it is asked for", async () => {
    const events = await eventsOf(post(CHAT, { ...asked, stream: true, stream_options: { include_usage: true } }));
    const last = events.pop()!;
    expect(last.choices).toEqual([]);
    expect(last.usage).toMatchObject({ completion_tokens: 12 });
    for (const event of events) expect(event.usage).toBeNull();
    const without = await eventsOf(post(CHAT, { ...asked, stream: true, stream_options: { include_usage: false } }));
    expect(without.some(({ choices }) => choices.length === 0)).toBe(false);
  });

  test("of three answers are told apart, and are those of three seeds", async () => {
    const body = { ...asked, n: 3, stream: true, stream_options: { include_usage: true } };
    const events = await eventsOf(post(CHAT, body));
    const usage = events.pop()!.usage!;
    expect(usage.completion_tokens).toBe(36);
    for (let i = 0; i < 3; i++) {
      const own = events.flatMap(({ choices }) => choices).filter(({ index }) => index === i);
      expect(own[0]!.delta!.role).toBe("assistant");
      expect(own.filter(({ finish_reason: reason }) => reason !== null).length).toBe(1);
      const alone = await told(post(CHAT, { ...asked, seed: asked.seed + i }));
      expect(textOf(events, i)).toBe(alone.choices[0]!.message!.content);
    }
    expect(usage.prompt_tokens).toBe((await told(post(CHAT, asked))).usage!.prompt_tokens);
  });

  test("bring the log-probabilities of the whole answer", async () => {
    const body = { ...asked, logprobs: true, top_logprobs: 2, stop: ["zzzz"] };
    const whole = (await told(post(CHAT, body))).choices[0]!.logprobs.content;
    const events = await eventsOf(post(CHAT, { ...body, stream: true }));
    expect(events.flatMap(({ choices }) => choices[0]!.logprobs?.content ?? [])).toEqual(whole);
  });

  test("of a completion have text, and nothing before the first", async () => {
    const body = { prompt: "hello", max_tokens: 6, seed: 3, echo: true };
    const whole = await told(post(COMPLETIONS, body));
    const events = await eventsOf(post(COMPLETIONS, { ...body, stream: true }));
    for (const { object } of events) expect(object).toBe("text_completion");
    expect(textOf(events)).toBe(whole.choices[0]!.text!);
    expect(events.at(-1)!.choices[0]!.finish_reason).toBe("length");
  });
});

describe("a stop text", () => {
  /** What the model says, by one character a token. */
  const full = told(post(COMPLETIONS, { prompt: "hello", max_tokens: 40, temperature: 0, presence_penalty: 2 }));

  test("ends every answer in the same place, whole and streamed, wherever it is cut", async () => {
    const text = (await full).choices[0]!.text!;
    expect(new Set(text).size).toBeGreaterThan(8);
    for (let from = 0; from < 12; from++) {
      for (const length of [1, 2, 3, 7]) {
        const stop = text.slice(from, from + length);
        const wanted = text.slice(0, text.indexOf(stop));
        const body = { prompt: "hello", max_tokens: 40, temperature: 0, presence_penalty: 2, stop: ["never", stop] };
        const whole = (await told(post(COMPLETIONS, body))).choices[0]!;
        expect({ text: whole.text, reason: whole.finish_reason }).toEqual({ text: wanted, reason: "stop" });
        const events = await eventsOf(post(COMPLETIONS, { ...body, stream: true }));
        expect(textOf(events)).toBe(wanted);
        // Nothing was sent that had to be taken back.
        let sent = "";
        for (const { choices } of events) {
          sent += choices[0]!.text;
          expect(wanted.startsWith(sent)).toBe(true);
        }
        expect(events.at(-1)!.choices[0]!.finish_reason).toBe("stop");
      }
    }
  });

  test("that has only begun at the end is text", async () => {
    const text = (await full).choices[0]!.text!;
    const stop = `${text.slice(35, 40)}~`;
    const body = { prompt: "hello", max_tokens: 40, temperature: 0, presence_penalty: 2, stop };
    expect((await told(post(COMPLETIONS, body))).choices[0]).toMatchObject({ text, finish_reason: "length" });
    expect(textOf(await eventsOf(post(COMPLETIONS, { ...body, stream: true })))).toBe(text);
  });
});

test("characters whose bytes are several tokens come whole", async () => {
  const emoji = "👩‍🚀é";
  const ids = bytes.encode(emoji);
  expect(ids.length).toBe(Buffer.from(emoji).length);
  // Only these bytes can be drawn: what comes is valid text or a replacement, never half a character in a chunk.
  const bias = Object.fromEntries([...new Set(ids)].map((id) => [id, 100]));
  for (let seed = 0; seed < 12; seed++) {
    const body = { prompt: emoji, max_tokens: 9, seed, logit_bias: bias };
    const whole = (await told(byteServer.post(COMPLETIONS, body))).choices[0]!.text!;
    const events = await eventsOf(byteServer.post(COMPLETIONS, { ...body, stream: true }));
    expect(textOf(events)).toBe(whole);
    expect(whole.isWellFormed()).toBe(true);
    for (const { choices } of events) expect(choices[0]!.text!.isWellFormed()).toBe(true);
  }
});

test("an emoji that is forced byte by byte is one piece, and what is cut off in its midst is told alike in both forms", async () => {
  const ids = bytes.encode("🦉");
  const prompt = bytes.encode("a");
  for (const [count, wanted] of [
    [4, "🦉"],
    [2, null],
  ] as const) {
    // One byte at a time, each the only one that can be drawn.
    const given = [...prompt];
    for (const id of ids.slice(0, count - 1)) given.push(id);
    const body = { prompt: given, max_tokens: 1, logit_bias: { [ids[count - 1]!]: 100 }, temperature: 0 };
    const whole = (await told(byteServer.post(COMPLETIONS, body))).choices[0]!.text!;
    expect(textOf(await eventsOf(byteServer.post(COMPLETIONS, { ...body, stream: true })))).toBe(whole);
    if (wanted) expect(whole).toBe(wanted);
    expect(whole.isWellFormed()).toBe(true);
  }
});

test("a client that goes in the midst frees its slot, whole or streamed, running or waiting", async () => {
  for (let i = 0; i < 40; i++) {
    const control = new AbortController();
    const { signal } = control;
    const body = { ...asked, max_tokens: 200, stream: i % 2 === 0, n: 1 + (i % 3) };
    const response = post(CHAT, body, { signal }).then((given) => given.text());
    setTimeout(() => control.abort(), i % 7);
    await response.catch(() => {});
    if (i % 5 === 0) await server.idle();
  }
  await server.idle();
  expect(server.speaker.queue.room).toBe(12);
  expect((await told(post(CHAT, asked))).usage!.completion_tokens).toBe(12);
});
