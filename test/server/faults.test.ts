/** The engine fails: everyone is told, and nothing hangs. And what a process says where it cannot serve. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openDevice } from "../../src/device/open";
import { writeModel } from "../../src/formats/checkpoint";
import { parameter } from "../../src/model/parameters";
import { Slab } from "../../src/model/slab";
import { writeTokenizer } from "../../src/text/tokenizer";
import { toyModel } from "../support/model";
import { CHAT, say, served, told } from "../support/served";
import { letterTokenizer, talking, toySpeaker, writeToy } from "../support/talking";

const files = mkdtempSync(join(tmpdir(), "dawngrad-serve-"));
const [good, broken] = [join(files, "good"), join(files, "broken")];
beforeAll(async () => {
  await writeToy(good);
  // One whose logits no float holds.
  using device = openDevice("cpu");
  using made = toyModel(talking, 3, device);
  const { width, vocabulary } = made.model.config;
  for (let row = 0; row < vocabulary; row++) {
    const at = parameter(made.model.parameters, "wte.weight").offset + row * width;
    made.values.fill(9e18, at, at + width / 2);
  }
  const { offset } = parameter(made.model.parameters, "ln_f.weight");
  made.values.fill(9e18, offset, offset + width);
  using weights = new Slab(device, made.model.parameters, { values: made.values });
  mkdirSync(broken);
  await writeModel(broken, made.model, weights, letterTokenizer());
  await writeTokenizer(broken, letterTokenizer().files);
});
afterAll(() => rmSync(files, { recursive: true }));

const endless = { [letterTokenizer().endOfText!]: -100 };
const asked = { messages: say("hello"), max_tokens: 200, logit_bias: endless };

interface Process extends AsyncDisposable {
  readonly child: Bun.Subprocess;
  readonly address: string;
  /** All that it has said, once it is over. */
  said(): Promise<string>;
}

function run(...flags: string[]) {
  const child = Bun.spawn([process.execPath, "src/main.ts", "serve", "--device", "cpu", ...flags], {
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, HF_HUB_OFFLINE: "1", HF_HOME: join(files, "hub"), DAWNGRAD_KEY: undefined },
  });
  let said = "";
  const decoder = new TextDecoder();
  const started = Promise.withResolvers<string>();
  const read = (async () => {
    for await (const part of child.stderr) {
      said += decoder.decode(part);
      const address = /page to chat at (\S+)\/;/.exec(said)?.[1];
      if (address) started.resolve(address);
    }
    started.reject(new Error(said));
  })();
  started.promise.catch(() => {});
  return { child, started: started.promise, read, said: () => said };
}

async function start(...flags: string[]): Promise<Process> {
  const { child, started, read, said } = run(...flags);
  return {
    child,
    address: await started,
    async said() {
      await read;
      return said();
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.exited;
    },
  };
}

test("a step that throws tells every open request, whole, streamed and waiting, and the health", async () => {
  await using server = served([toySpeaker({ slots: 2, queue: 8 })]);
  const [whole, streamed, waiting] = [
    server.post(CHAT, asked),
    server.post(CHAT, { ...asked, stream: true }),
    server.post(CHAT, asked),
  ];
  while (server.speaker.queue.running + server.speaker.queue.waiting < 3) await Bun.sleep(0);
  const { step } = server.speaker.queue;
  let steps = 0;
  server.speaker.queue.step = () => {
    if (++steps > 5) throw new Error("the device was lost");
    step.call(server.speaker.queue);
  };
  for (const response of [await whole, await waiting]) {
    expect(response.status).toBe(500);
    const { error } = await told(response);
    expect(error!.type).toBe("server_error");
    expect(error!.message).not.toContain("the device was lost");
  }
  const text = await (await streamed).text();
  expect(text).not.toContain("[DONE]");
  const last = text.trimEnd().split("\n\n").at(-1)!;
  expect(JSON.parse(last.slice(6)).error.type).toBe("server_error");
  expect(server.faults.map(String)).toEqual(["Error: the device was lost"]);
  expect((await fetch(`${server.address}/health`)).status).toBe(503);
  expect((await server.post(CHAT, asked)).status).toBe(503);
  expect(server.speaker.queue.running + server.speaker.queue.waiting).toBe(0);
});

test("a model that fails in the midst ends the program with 1, after everyone was told", async () => {
  await using server = await start("--port", "0", "--model", broken, "--slots", "2");
  const ask = (body: object) => fetch(server.address + CHAT, { method: "POST", body: JSON.stringify(body) });
  const responses = [ask(asked), ask({ ...asked, stream: true }), ask(asked)];
  const [whole, streamed, waiting] = await Promise.all(responses.map(async (one) => (await one).text()));
  for (const text of [whole, streamed, waiting]) expect(text).toContain('"error"');
  expect(await server.child.exited).toBe(1);
  const said = await server.said();
  expect(said).toContain("error: the engine has failed");
  expect(said).not.toMatch(/^\s+at /m);
});

test("SIGTERM lets an answer end, and the program ends with 0", async () => {
  await using server = await start("--port", "0", "--model", good);
  const answer = fetch(server.address + CHAT, { method: "POST", body: JSON.stringify(asked) });
  await Bun.sleep(15);
  server.child.kill("SIGTERM");
  expect((await told(answer)).usage!.completion_tokens).toBe(200);
  expect(await server.child.exited).toBe(0);
});

test("what cannot be served is one sentence", async () => {
  using taken = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("") });
  const empty = join(files, "empty");
  for (const [flags, wanted] of [
    [["--model", good, "--port", String(taken.port)], `port ${taken.port} of 127.0.0.1 is in use`],
    [["--model", good, "--adapter", `a=${empty}`], "empty"],
    [["--model", good, "--adapter", `a=${good}`], "is not an adapter"],
    [["--model", good, "--adapter", `good=${good}`], "two models are called good"],
    [["--model", empty], "empty"],
    [["--model", good, "--host", "0.0.0.0"], "there is no key"],
    [["--model", good, "--slots", "0"], "slots"],
    [["--model", good, "--timeout", "soon"], "timeout"],
    [["--model", good, "--sluts", "2"], "sluts"],
  ] as const) {
    const { child, read, said } = run(...flags);
    expect(await child.exited, flags.join(" ")).not.toBe(0);
    await read;
    expect(said()).toContain(wanted);
    expect(said()).toMatch(/^error: [^\n]+$/m);
    expect(said()).not.toMatch(/^\s+at /m);
  }
}, 60_000);
