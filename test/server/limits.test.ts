/** Too much, too large, too slow, too many: told in OpenAI's form, and the server lives. */
import { expect, test } from "bun:test";
import { connect } from "node:net";
import { sampling } from "../../src/generate/sampling";
import { CHAT, say, served, told } from "../support/served";
import { toySpeaker } from "../support/talking";

const asked = { messages: say("hello"), max_tokens: 5 };

async function lives({ post }: ReturnType<typeof served>): Promise<void> {
  expect((await post(CHAT, asked)).status).toBe(200);
}

test("bodies that are no request are 400 or 413", async () => {
  await using server = served(undefined, { bodyBytes: 50_000, bodySeconds: 1 });
  const { post } = server;
  for (const [body, status] of [
    ["", 400],
    ["{", 400],
    ["null", 400],
    ["[]", 400],
    ['"a"', 400],
    ["[".repeat(40_000), 400],
    [`{"messages":${"[".repeat(20_000)}${"]".repeat(20_000)}}`, 400],
    [`{"messages":${'{"role":'.repeat(5000)}1${"}".repeat(5000)}}`, 400],
    [new Uint8Array(1000).map((_, i) => (i * 7919) & 255), 400],
    [JSON.stringify({ messages: say("a".repeat(60_000)) }), 413],
    [JSON.stringify({ messages: Array.from({ length: 1000 }, () => say("a")[0]) }), 400],
    [JSON.stringify({ messages: [[], {}, 1] }), 400],
  ] as const) {
    const response = await post(CHAT, body);
    const { error } = await told(response);
    expect(response.status, String(body).slice(0, 40)).toBe(status);
    expect(error!.message.length).toBeGreaterThan(5);
    expect(error!.message).not.toMatch(/\n|\bat /);
  }
  await lives(server);
  expect(server.bugs).toEqual([]);
});

test("a chunked body without a length is held to the same size", async () => {
  await using server = served(undefined, { bodyBytes: 50_000 });
  let sent = 0;
  const body = new ReadableStream({
    pull(controller) {
      controller.enqueue(new Uint8Array(10_000).fill(32));
      if (++sent > 100) controller.close();
    },
  });
  const response = await fetch(server.address + CHAT, { method: "POST", body }).catch(() => null);
  if (response) expect(response.status).toBe(413);
  expect(sent).toBeLessThan(100);
  await lives(server);
});

test("a body that does not come is given up", async () => {
  await using server = served(undefined, { bodySeconds: 0.2 });
  const { hostname, port } = new URL(server.address);
  const socket = connect(Number(port), hostname);
  const said = Promise.withResolvers<string>();
  socket.on("data", (data) => said.resolve(String(data)));
  socket.write(`POST ${CHAT} HTTP/1.1\r\nHost: ${hostname}:${port}\r\nContent-Length: 100\r\n\r\n{"mess`);
  expect(await said.promise).toContain("400 Bad Request");
  socket.destroy();
  await lives(server);
});

test("a queue that is full sends away with Retry-After, first come are first served", async () => {
  await using server = served([toySpeaker({ slots: 1, queue: 2 })]);
  const long = { messages: say("hello"), max_tokens: 200, logit_bias: { [server.speaker.tokenizer.endOfText!]: -100 } };
  const order: number[] = [];
  const taken = [0, 1, 2].map((i) =>
    server.post(CHAT, long).then(async (response) => {
      await response.text();
      order.push(i);
      return response.status;
    }),
  );
  while (server.speaker.queue.room > 0) await Bun.sleep(1);
  const response = await server.post(CHAT, long);
  expect(response.status).toBe(429);
  expect(Number(response.headers.get("retry-after"))).toBeGreaterThan(0);
  expect((await told(response)).error).toMatchObject({ type: "rate_limit_error", code: "queue_full" });
  expect(await Promise.all(taken)).toEqual([200, 200, 200]);
  expect(order).toEqual([0, 1, 2]);
  await lives(server);
});

test("a request that takes too long ends with what there is, or is sent away where it never began", async () => {
  await using server = served([toySpeaker({ slots: 1, queue: 2, context: 8192 })], { seconds: 0.15 });
  const long = {
    messages: say("hello"),
    max_tokens: 8000,
    logit_bias: { [server.speaker.tokenizer.endOfText!]: -100 },
  };
  const { choices, usage } = await told(server.post(CHAT, long));
  expect(choices[0]!.finish_reason).toBe("length");
  expect(usage!.completion_tokens).toBeGreaterThan(0);
  // Another holds the only slot for longer.
  const job = server.speaker.queue.submit({
    ids: [1, 2],
    sampling: sampling.parse({ maxTokens: 8000 }),
    options: {},
    token: () => false,
    ended() {},
    failed() {},
  })!;
  expect((await server.post(CHAT, long)).status).toBe(503);
  job.cancel();
  await lives(server);
});

test("a server that ends answers what it has, and takes nothing new", async () => {
  await using server = served();
  const long = { messages: say("hello"), max_tokens: 150, logit_bias: { [server.speaker.tokenizer.endOfText!]: -100 } };
  const running = server.post(CHAT, long);
  while (server.speaker.queue.running === 0) await Bun.sleep(1);
  const drained = server.drain(10);
  expect((await fetch(`${server.address}/health`)).status).toBe(503);
  const refused = await server.post(CHAT, asked);
  expect(refused.status).toBe(503);
  expect((await told(running)).usage!.completion_tokens).toBe(150);
  await drained;
  expect(await fetch(`${server.address}/health`).catch(() => null)).toBeNull();
});

test("three hundred clients that leave at random moments take nothing with them", async () => {
  await using server = served([toySpeaker({ slots: 4, queue: 16 })]);
  const seeded = { ...asked, max_tokens: 30, seed: 5 };
  const before = (await told(server.post(CHAT, seeded))).choices;
  let left = 300;
  const leave = async () => {
    while (left-- > 0) {
      const control = new AbortController();
      setTimeout(() => control.abort(), 12 * Math.random());
      const body = {
        messages: say("x".repeat(1 + (left % 90))),
        max_tokens: 100,
        stream: left % 3 > 0,
        n: 1 + (left % 2),
      };
      await server
        .post(CHAT, body, { signal: control.signal })
        .then((response) => response.text())
        .catch(() => {});
    }
  };
  await Promise.all(Array.from({ length: 24 }, leave));
  await server.idle();
  expect(server.speaker.queue.room).toBe(20);
  expect((await told(server.post(CHAT, seeded))).choices).toEqual(before);
  expect(server.bugs).toEqual([]);
});
