/** An hour's visitors within minutes: talks, bursts, long prompts, clients that leave, and bodies that are meant to harm. Every answer is checked. */
import { connect } from "node:net";
import { hear, prompt, start } from "./serving";

const CHAT = "/v1/chat/completions";
const say = (content: string) => [{ role: "user", content }];
const quantile = (all: readonly number[], q: number) =>
  [...all].sort((a, b) => a - b)[Math.min(all.length - 1, Math.floor(q * all.length))] ?? Number.NaN;

/** A body, and the statuses that may be its answer. */
const hostile: readonly [body: () => string | Uint8Array<ArrayBuffer>, statuses: readonly number[]][] = [
  [() => "{", [400]],
  [() => "", [400]],
  [() => "null", [400]],
  [() => "[1,2", [400]],
  [() => `${"[".repeat(100_000)}${"]".repeat(100_000)}`, [400]],
  [() => `{"messages":${"[".repeat(50_000)}${"]".repeat(50_000)}}`, [400]],
  [() => new Uint8Array(100_000).map((_, i) => (i * 7919) & 255), [400]],
  [() => "x".repeat(9_000_000), [413]],
  [() => JSON.stringify({ messages: Array.from({ length: 100_000 }, () => say("a")[0]) }), [400, 413]],
  [() => JSON.stringify({ messages: say("a ".repeat(5000)) }), [400]],
  [() => JSON.stringify({ messages: [null] }), [400]],
  [() => JSON.stringify({ messages: say("hello"), temperature: -1 }), [400]],
  [() => JSON.stringify({ messages: say("hello"), max_tokens: 1e9 }), [400]],
  [() => JSON.stringify({ messages: say("hello"), n: 1000 }), [400]],
  [() => JSON.stringify({ messages: say("hello"), logit_bias: { "99999999": 1 } }), [400]],
  [() => JSON.stringify({ messages: say("hello"), stop: Array(100).fill("a") }), [400]],
  [() => '{"messages":[{"role":"user","content":"\\ud800"}],"max_tokens":2}', [200, 400]],
  [() => '{"__proto__":{"polluted":1},"messages":[{"role":"user","content":"hello"}],"max_tokens":2}', [200]],
];

export async function mix(model: string, minutes: number): Promise<void> {
  await using server = await start(model, ["--queue", "256"]);
  const { address } = server;
  const firsts: number[] = [];
  const wholes: number[] = [];
  const healths: number[] = [];
  const wrong: string[] = [];
  const counts = new Map<string, number>();
  const known = new Map<number, string>();
  const count = (kind: string) => counts.set(kind, (counts.get(kind) ?? 0) + 1);
  const until = performance.now() + 60_000 * minutes;
  const over = () => performance.now() > until;
  const pause = (mean: number) => Bun.sleep(-mean * Math.log(1 - Math.random()));

  const talk = async (words: number, tokens: number, kind: string) => {
    const heard = await hear(address, CHAT, { messages: say(prompt(words)), max_tokens: tokens, n: 1 });
    count(kind);
    if (heard.status !== 200 || heard.error) wrong.push(`${kind}: ${heard.status} ${heard.error}`);
    if (kind === "talks") {
      firsts.push(heard.first);
      wholes.push(heard.whole);
    }
  };
  /** The same request has the same answer, whoever else is there. */
  const repeated = async () => {
    const seed = Math.floor(8 * Math.random());
    const asked = { messages: say(`${seed} lanterns by the river`), max_tokens: 60, seed, temperature: 1 };
    const heard = await hear(address, CHAT, asked);
    count("seeded");
    if (heard.error) wrong.push(`seeded: ${heard.error}`);
    if (heard.text !== (known.get(seed) ?? heard.text)) wrong.push(`seed ${seed} was answered otherwise`);
    known.set(seed, heard.text);
  };
  const harm = async () => {
    const [body, statuses] = hostile[Math.floor(hostile.length * Math.random())]!;
    const response = await fetch(address + CHAT, { method: "POST", body: body() });
    const said = await response.text();
    count("hostile");
    if (!statuses.includes(response.status)) wrong.push(`hostile: ${response.status} ${said.slice(0, 200)}`);
    else if (response.status !== 200 && typeof JSON.parse(said).error?.message !== "string")
      wrong.push(`hostile: ${said.slice(0, 200)}`);
  };
  /** Bytes that are no HTTP, or a request that never becomes whole. */
  const raw = async () => {
    const { hostname, port } = new URL(address);
    const socket = connect(Number(port), hostname);
    socket.on("error", () => {});
    socket.write(
      Math.random() < 0.5
        ? new Uint8Array(5000).map(() => 256 * Math.random())
        : `POST ${CHAT} HTTP/1.1\r\nHost: ${hostname}:${port}\r\nContent-Length: 100000\r\n\r\n{"messages":`,
    );
    await Bun.sleep(3000 * Math.random());
    socket.destroy();
    count("no requests");
  };
  const leaves = async () => {
    const control = new AbortController();
    setTimeout(() => control.abort(), 300 * Math.random());
    await hear(address, CHAT, { messages: say(prompt(100)), max_tokens: 300 }, control.signal).catch(() => {});
    count("left");
  };
  const whole = async () => {
    const body = { messages: say(prompt(10)), max_tokens: 30, n: 2, logprobs: true, top_logprobs: 2 };
    const response = await fetch(address + CHAT, { method: "POST", body: JSON.stringify(body) });
    const said = (await response.json()) as {
      choices?: { message: { content: string }; logprobs: { content: unknown[] } }[];
    };
    count("whole");
    if (
      said.choices?.length !== 2 ||
      said.choices.some(({ message, logprobs }) => (message.content === "") !== (logprobs.content.length === 0))
    )
      wrong.push(`whole: ${JSON.stringify(said).slice(0, 200)}`);
  };
  const again = async (visit: () => Promise<unknown>, mean: number) => {
    while (!over()) {
      await visit();
      await pause(mean);
    }
  };
  const health = async () => {
    const begun = performance.now();
    const { status } = await fetch(`${address}/health`);
    healths.push((performance.now() - begun) / 1000);
    if (status !== 200) wrong.push(`/health: ${status}`);
  };
  const burst = () => Promise.all(Array.from({ length: 40 }, () => talk(8, 20, "in bursts")));
  const before = await server.resident();
  await Promise.all([
    ...Array.from({ length: 3 }, () => again(() => talk(12, 80, "talks"), 300)),
    again(() => talk(400, 20, "long prompts"), 1500),
    again(burst, 8000),
    again(repeated, 200),
    again(whole, 1000),
    again(leaves, 300),
    again(harm, 250),
    again(raw, 1000),
    again(health, 500),
  ]);
  const metrics = await (await fetch(`${address}/metrics`)).text();
  for (const name of ["running", "waiting"])
    if (!metrics.includes(`dawngrad_num_requests_${name} 0\n`)) wrong.push(`a request is still ${name}`);
  const told = (all: readonly number[]) =>
    [0.5, 0.99].map((q) => `${(1000 * quantile(all, q)).toFixed(0)} ms`).join(", ");
  console.log(`${minutes} minutes: ${[...counts].map(([kind, of]) => `${of} ${kind}`).join(", ")}`);
  console.log(`talks, p50 and p99: first token ${told(firsts)}; 80 tokens ${told(wholes)}; /health ${told(healths)}`);
  console.log(`resident ${before.toFixed(0)} MiB at the start, ${(await server.resident()).toFixed(0)} at the end`);
  console.log(wrong.length ? `${wrong.length} wrong:\n${wrong.slice(0, 20).join("\n")}` : "nothing wrong");
  if (wrong.length) process.exitCode = 1;
}
