/** What OpenAI's requests mean, and how answers are told. */
import { afterAll, describe, expect, test } from "bun:test";
import { openDevice } from "../../src/device/open";
import { Engine } from "../../src/generate/engine";
import { toyModel } from "../support/model";
import { CHAT, COMPLETIONS, eventsOf, say, served, textOf, told } from "../support/served";
import { talking, toySpeaker } from "../support/talking";

const server = served([toySpeaker({ slots: 8, queue: 16 })]);
afterAll(async () => {
  expect(server.bugs).toEqual([]);
  await server[Symbol.asyncDispose]();
});
const { post } = server;
const asked = { messages: say("hello there"), max_tokens: 12, seed: 7, temperature: 1 };

describe("a chat", () => {
  test("is answered in OpenAI's form", async () => {
    const answer = await told(post(CHAT, asked));
    expect(answer).toMatchObject({ object: "chat.completion", model: "toy" });
    expect(answer.id).toStartWith("chatcmpl-");
    expect(answer.choices).toEqual([
      {
        index: 0,
        message: { role: "assistant", content: expect.any(String), refusal: null },
        logprobs: null,
        finish_reason: "length",
      },
    ] as never);
    const { prompt_tokens: prompt, completion_tokens: written, total_tokens: all } = answer.usage!;
    expect(written).toBe(12);
    expect(prompt).toBe(server.speaker.template!.prompt([{ role: "user", content: "hello there" }]).length);
    expect(all).toBe(prompt + written);
  });

  test("reads parts of text as text, developer as system, and null as nothing said", async () => {
    const text = async (messages: unknown) =>
      (await told(post(CHAT, { ...asked, messages }))).choices[0]!.message!.content;
    const parts = [
      { type: "text", text: "hello " },
      { type: "text", text: "there" },
    ];
    expect(await text(say(parts))).toBe(await text(asked.messages));
    const system = { role: "system", content: "be brief" };
    expect(await text([{ ...system, role: "developer" }, ...say("hello")])).toBe(await text([system, ...say("hello")]));
    const talk = (content: unknown) => [...say("a"), { role: "assistant", content }, ...say("b")];
    expect(await text(talk(null))).toBe(await text(talk("")));
  });

  test("refuses what would change its meaning, by its name", async () => {
    for (const [body, param] of [
      [{ messages: say([{ type: "image_url", image_url: { url: "data:," } }]) }, "messages[0].content[0]"],
      [{ tools: [{}], tool_choice: "required" }, "tool_choice"],
      [{ response_format: { type: "json_object" } }, "response_format"],
      [{ messages: [{ role: "tool", content: "4", tool_call_id: "x" }] }, "messages[0].role"],
      [{ messages: [] }, "messages"],
      [{ messages: [null] }, "messages[0]"],
      [{ messages: [{ role: "user" }] }, "messages[0].content"],
      [{ temperature: -1 }, "temperature"],
      [{ top_logprobs: 21, logprobs: true }, "top_logprobs"],
      [{ stop: ["a", "b", "c", "d", "e"] }, "stop"],
      [{ n: 9 }, "n"],
      [{ n: 0 }, "n"],
      [{ logit_bias: { 999999: 1 } }, "logit_bias"],
      [{ max_tokens: 0 }, "max_tokens"],
      [{ seed: 1.5 }, "seed"],
    ] as const) {
      const response = await post(CHAT, { ...asked, ...body });
      const { error } = await told(response);
      expect({ status: response.status, param: error?.param }).toEqual({ status: 400, param });
      expect(error!.type).toBe("invalid_request_error");
      expect(error!.message).not.toContain("\n");
    }
    expect((await told(post(CHAT, { ...asked, messages: say([{ type: "image_url" }]) }))).error!.message).toContain(
      "image_url",
    );
  });

  test("takes every field that may be null as if it were absent, and ignores what it does not know", async () => {
    const plain = (await told(post(CHAT, asked))).choices;
    const nullable =
      "max_completion_tokens n stop stream stream_options top_p top_logprobs logprobs logit_bias presence_penalty frequency_penalty tools tool_choice response_format top_k min_p user metadata";
    for (const name of nullable.split(" "))
      expect((await told(post(CHAT, { ...asked, [name]: null }))).choices, name).toEqual(plain);
    expect((await told(post(CHAT, { ...asked, store: true, service_tier: "auto" }))).choices).toEqual(plain);
    expect(
      (await told(post(CHAT, { ...asked, max_tokens: 3, max_completion_tokens: 5 }))).usage!.completion_tokens,
    ).toBe(5);
  });

  test("fits the context or is refused", async () => {
    const response = await post(CHAT, { ...asked, messages: say("a".repeat(talking.context)) });
    expect(response.status).toBe(400);
    expect((await told(response)).error).toMatchObject({ code: "context_length_exceeded", param: "messages" });
    const { choices, usage } = await told(
      post(CHAT, { ...asked, max_tokens: undefined, logit_bias: { [server.speaker.tokenizer.endOfText!]: -100 } }),
    );
    expect(choices[0]!.finish_reason).toBe("length");
    expect(usage!.total_tokens).toBe(talking.context);
  });

  test("goes on with the assistant's last message", async () => {
    const messages = [...asked.messages, { role: "assistant", content: "well, " }] as const;
    const ids = server.speaker.template!.unfinished([...messages] as never);
    const rest = { ...asked, temperature: 0, max_tokens: 7 };
    const onward = await told(post(CHAT, { ...rest, messages, continue_final_message: true }));
    const continued = await told(post(COMPLETIONS, { ...rest, prompt: ids }));
    expect(onward.choices[0]!.message!.content).toBe(continued.choices[0]!.text!);
    expect(onward.usage!.prompt_tokens).toBe(ids.length);
    expect((await post(CHAT, { ...asked, continue_final_message: true })).status).toBe(400);
  });
});

describe("a seed", () => {
  test("gives the same answer, and its absence another", async () => {
    const text = async (body: object) =>
      (await told(post(CHAT, { ...asked, max_tokens: 40, ...body }))).choices[0]!.message!.content;
    expect(await text({})).toBe(await text({}));
    expect(await text({ seed: 8 })).not.toBe(await text({}));
    expect(await text({ seed: undefined })).not.toBe(await text({ seed: undefined }));
    expect(await text({ seed: 2 ** 40 + 7 })).toBe(await text({}));
  });

  test("means the same alone and among seven others, whole and streamed", async () => {
    const body = { ...asked, max_tokens: 60 };
    const alone = (await told(post(CHAT, body))).choices[0]!.message!.content;
    const others = Array.from({ length: 7 }, (_, i) =>
      post(CHAT, { ...asked, messages: say("x".repeat(3 + 20 * i)), max_tokens: 90, seed: i }),
    );
    const among = post(CHAT, body);
    const streamed = post(CHAT, { ...body, stream: true });
    expect((await told(among)).choices[0]!.message!.content).toBe(alone);
    expect(textOf(await eventsOf(streamed))).toBe(alone);
    for (const other of others) expect((await other).status).toBe(200);
  });
});

describe("log-probabilities", () => {
  test("are the model's own of the tokens that were drawn, with the likeliest beside them", async () => {
    using device = openDevice("cpu");
    using made = toyModel(talking, 3, device);
    using engine = new Engine(device, made.model, [made.weights]);
    const { choices } = await told(post(CHAT, { ...asked, logprobs: true, top_logprobs: 20, temperature: 1.7 }));
    const { content, refusal } = choices[0]!.logprobs;
    expect(refusal).toBeNull();
    expect(content.length).toBe(12);
    const ids = server.speaker.template!.prompt([{ role: "user", content: "hello there" }]);
    for (const { token, logprob, bytes, top_logprobs: top } of content) {
      const logits = engine.nextLogits(ids);
      const largest = Math.max(...logits);
      const lse = largest + Math.log(logits.reduce((sum, v) => sum + Math.exp(v - largest), 0));
      const [id] = server.speaker.tokenizer.encode(token);
      expect(logprob).toBeCloseTo(logits[id!]! - lse, 3);
      expect(Buffer.from(bytes).toString()).toBe(token);
      expect(top.length).toBe(20);
      expect(top[0].logprob).toBeCloseTo(largest - lse, 3);
      expect(top.reduce((sum: number, one: { logprob: number }) => sum + Math.exp(one.logprob), 0)).toBeLessThan(
        1.0001,
      );
      for (let i = 1; i < 20; i++) expect(top[i].logprob).toBeLessThanOrEqual(top[i - 1].logprob);
      ids.push(id!);
    }
  });

  test("have an empty list of others where none were asked for, and are null where they were not", async () => {
    const one = await told(post(CHAT, { ...asked, logprobs: true }));
    expect(
      one.choices[0]!.logprobs.content.every(
        ({ top_logprobs: top }: { top_logprobs: [] }) => Array.isArray(top) && top.length === 0,
      ),
    ).toBe(true);
    expect((await told(post(COMPLETIONS, { prompt: "a", max_tokens: 2 }))).choices[0]!.logprobs).toBeNull();
  });

  test("of a completion are four lists", async () => {
    const { choices } = await told(post(COMPLETIONS, { prompt: "hello", max_tokens: 6, logprobs: 3, seed: 3 }));
    const { tokens, token_logprobs, top_logprobs, text_offset } = choices[0]!.logprobs;
    expect(tokens.join("")).toBe(choices[0]!.text!);
    expect(text_offset).toEqual([0, 1, 2, 3, 4, 5]);
    expect(token_logprobs.length).toBe(6);
    for (const top of top_logprobs) expect(Object.keys(top).length).toBe(3);
  });
});

describe("a completion", () => {
  test("continues texts and ids, several at once, and says them first where it is asked to", async () => {
    const body = { max_tokens: 5, temperature: 0 };
    const text = await told(post(COMPLETIONS, { ...body, prompt: "hello" }));
    expect(text).toMatchObject({ object: "text_completion" });
    const ids = server.speaker.tokenizer.encode("hello");
    const of = async (more: object) =>
      (await told(post(COMPLETIONS, { ...body, ...more }))).choices.map((choice) => choice.text!);
    const [own] = text.choices.map((choice) => choice.text!);
    expect(await of({ prompt: ids })).toEqual([own!]);
    expect(await of({ prompt: ["hello", "there"] })).toEqual([own!, ...(await of({ prompt: "there" }))]);
    expect(await of({ prompt: [ids, ids] })).toEqual([own!, own!]);
    expect(await of({ prompt: "hello", echo: true })).toEqual([`hello${own}`]);
    for (const bad of [{ suffix: "x" }, { best_of: 3 }, { prompt: [999_999] }, { prompt: [[]] }])
      expect((await post(COMPLETIONS, { ...body, prompt: "a", ...bad })).status).toBe(400);
  });

  test("has 16 tokens at most where nothing else is said", async () => {
    const bias = { [server.speaker.tokenizer.endOfText!]: -100 };
    expect((await told(post(COMPLETIONS, { prompt: "a", logit_bias: bias }))).usage!.completion_tokens).toBe(16);
  });
});

test("models are listed and found by their names; any name means the only one", async () => {
  const get = async (path: string) => fetch(server.address + path);
  const list = (await (await get("/v1/models")).json()) as { data: { id: string }[] };
  expect(list).toMatchObject({ object: "list", data: [{ id: "toy", object: "model", owned_by: "dawngrad" }] });
  expect(await (await get("/v1/models/toy")).json()).toEqual(list.data[0] as never);
  expect((await get("/v1/models/other")).status).toBe(404);
  expect((await told(post(CHAT, { ...asked, model: "gpt-4o" }))).model).toBe("toy");
});

test("paths and methods that are not there are told", async () => {
  for (const [method, path, status] of [
    ["GET", CHAT, 405],
    ["POST", "/health", 405],
    ["GET", "/v2/models", 404],
    ["HEAD", "/health", 200],
    ["GET", "/health/", 200],
    ["DELETE", "/v1/models/toy", 404],
  ] as const)
    expect((await fetch(server.address + path, { method })).status, `${method} ${path}`).toBe(status);
});

test("metrics are Prometheus' lines, and count what was written", async () => {
  const read = async () => {
    const response = await fetch(`${server.address}/metrics`);
    expect(response.headers.get("content-type")).toStartWith("text/plain; version=0.0.4");
    const values = new Map<string, number>();
    const types = new Map<string, string>();
    for (const line of (await response.text()).split("\n").slice(0, -1)) {
      const [, name, type] = /^# TYPE (\S+) (counter|gauge|histogram)$/.exec(line) ?? [];
      if (name) types.set(name, type!);
      if (line.startsWith("#")) continue;
      const [, of, value] = /^(dawngrad_[a-z0-9_]+(?:\{[a-z_]+="[^"]+"\})?) ([0-9.e+-]+)$/.exec(line)!;
      expect(types.has(of!.replace(/\{.*/, "")) || types.has(of!.replace(/_(bucket|sum|count)(\{.*)?$/, ""))).toBe(
        true,
      );
      values.set(of!, Number(value));
    }
    return values;
  };
  const before = await read();
  await told(post(CHAT, asked));
  const after = await read();
  const more = (name: string) => after.get(name)! - before.get(name)!;
  expect(more("dawngrad_generation_tokens_total")).toBe(12);
  expect(more('dawngrad_request_success_total{finished_reason="length"}')).toBe(1);
  expect(more("dawngrad_time_to_first_token_seconds_count")).toBe(1);
  expect(more("dawngrad_inter_token_latency_seconds_count")).toBe(11);
  expect(after.get('dawngrad_e2e_request_latency_seconds_bucket{le="+Inf"}')).toBe(
    after.get("dawngrad_e2e_request_latency_seconds_count")!,
  );
  expect(after.get("dawngrad_num_requests_running")).toBe(0);
});
