/** OpenAI's own client, as people use it. */
import { afterAll, expect, test } from "bun:test";
import OpenAI, { APIError, BadRequestError, RateLimitError } from "openai";
import { served } from "../support/served";
import { toySpeaker } from "../support/talking";

const server = served([toySpeaker({ slots: 4, queue: 2 })]);
let requests = 0;
const client = new OpenAI({
  baseURL: `${server.address}/v1`,
  apiKey: "none",
  maxRetries: 2,
  fetch: (url: string | URL | Request, init?: RequestInit) => {
    requests++;
    return fetch(url, init);
  },
});
afterAll(() => server[Symbol.asyncDispose]());

const asked = {
  model: "toy",
  messages: [{ role: "user" as const, content: "hello there" }],
  max_completion_tokens: 12,
  seed: 7,
};

test("answers, streams, and the helper over three choices", async () => {
  const whole = await client.chat.completions.create(asked);
  const text = whole.choices[0]!.message.content!;
  expect(text.length).toBeGreaterThan(0);
  let streamed = "";
  for await (const chunk of await client.chat.completions.create({ ...asked, stream: true }))
    streamed += chunk.choices[0]?.delta.content ?? "";
  expect(streamed).toBe(text);
  const helped = client.chat.completions.stream({ ...asked, n: 3, stream_options: { include_usage: true } });
  const { choices, usage } = await helped.finalChatCompletion();
  expect(choices.map(({ index, finish_reason }) => [index, finish_reason])).toEqual([
    [0, "length"],
    [1, "length"],
    [2, "length"],
  ]);
  for (const { message } of choices) expect(message.role).toBe("assistant");
  expect(choices[0]!.message.content).toBe(text);
  expect(usage!.completion_tokens).toBe(36);
});

test("log-probabilities, completions, models", async () => {
  const told = await client.chat.completions.create({ ...asked, logprobs: true, top_logprobs: 2 });
  const content = told.choices[0]!.logprobs!.content!;
  expect(content.length).toBe(12);
  expect(content[0]!.top_logprobs.length).toBe(2);
  const completion = await client.completions.create({
    model: "toy",
    prompt: "hello",
    max_tokens: 4,
    logprobs: 2,
    echo: false,
  });
  expect(completion.choices[0]!.logprobs!.tokens!.length).toBe(4);
  const names: string[] = [];
  for await (const { id } of client.models.list()) names.push(id);
  expect(names).toEqual(["toy"]);
  expect((await client.models.retrieve("toy")).owned_by).toBe("dawngrad");
});

test("a mistake is asked once, and has its status; a full queue is asked again", async () => {
  requests = 0;
  const wrong = await client.chat.completions.create({ ...asked, temperature: -1 }).catch((error) => error);
  expect(wrong).toBeInstanceOf(BadRequestError);
  expect([wrong.status, wrong.param, wrong.type]).toEqual([400, "temperature", "invalid_request_error"]);
  expect(requests).toBe(1);
  const none = await client.models.retrieve("other").catch((error) => error);
  expect([none.status, none.code]).toEqual([404, "model_not_found"]);
  expect(requests).toBe(2);
  const long = {
    ...asked,
    n: 3,
    max_completion_tokens: 200,
    logit_bias: { [server.speaker.tokenizer.endOfText!]: -100 },
  };
  const two = [client.chat.completions.create(long), client.chat.completions.create(long)];
  while (server.speaker.queue.room > 2) await Bun.sleep(0);
  const full = await client.chat.completions.create(long, { maxRetries: 0 }).catch((error) => error);
  expect(full).toBeInstanceOf(RateLimitError);
  await Promise.all(two);
});

test("breaking out of a stream frees the slot", async () => {
  const stream = await client.chat.completions.create({
    ...asked,
    max_completion_tokens: 220,
    logit_bias: { [server.speaker.tokenizer.endOfText!]: -100 },
    stream: true,
  });
  let chunks = 0;
  for await (const _ of stream) if (++chunks === 3) break;
  await server.idle();
  expect(server.speaker.queue.running).toBe(0);
});

test("an error in the midst of a stream is thrown", async () => {
  await using other = served([toySpeaker({ slots: 1, queue: 2 })]);
  const its = new OpenAI({ baseURL: `${other.address}/v1`, apiKey: "none", maxRetries: 0 });
  const step = other.speaker.queue.step.bind(other.speaker.queue);
  let steps = 0;
  other.speaker.queue.step = () => {
    if (++steps > 3) throw new Error("lost");
    return step();
  };
  const stream = await its.chat.completions.create({ ...asked, stream: true, max_completion_tokens: 100 });
  const heard = (async () => {
    for await (const _ of stream);
  })();
  expect(await heard.catch((error) => error)).toBeInstanceOf(APIError);
});
