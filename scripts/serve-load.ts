/**
 * What `dawngrad serve` bears: tokens a second of one client and of eight, how evenly eight are served, a short question behind a long
 * prompt, clients that leave, and a mix of all with bodies that are meant to harm.
 * `bun scripts/serve-load.ts [throughput] [behind] [dropped] [mix] [--shapes micro,gpt2] [--clients N] [--minutes N]`; DAWNGRAD names the program
 * (the sources if absent).
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { dropped } from "./serve-dropped";
import { mix } from "./serve-mix";
import { hear, prompt, type Shape, start, writeRandom } from "./serving";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    shapes: { type: "string", default: "micro,gpt2" },
    clients: { type: "string", default: "5000" },
    minutes: { type: "string", default: "10" },
    rounds: { type: "string", default: "5" },
  },
});
const parts = positionals.length ? positionals : ["throughput", "behind", "dropped", "mix"];
const shapes = values.shapes.split(",") as Shape[];
const rounds = Number(values.rounds);
const folder = mkdtempSync(join(tmpdir(), "dawngrad-load-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

const median = (all: readonly number[]) => quantile(all, 0.5);
function quantile(all: readonly number[], q: number): number {
  const sorted = [...all].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
}
const several = (all: readonly number[], digits = 1) =>
  `${median(all).toFixed(digits)} (${Math.min(...all).toFixed(digits)} to ${Math.max(...all).toFixed(digits)})`;

const endOf = new Map<Shape, number>();
for (const shape of shapes) endOf.set(shape, (await writeRandom(join(folder, shape), shape)).endOfText!);
const COMPLETION = "/v1/completions";
/** Never ends by itself, so that all write as many tokens. */
const endless = (shape: Shape) => ({ temperature: 1, logit_bias: { [endOf.get(shape)!]: -100 } });

async function throughput(shape: Shape): Promise<void> {
  const each = shape === "micro" ? { tokens: 200, times: 6 } : { tokens: 128, times: 1 };
  await using server = await start(join(folder, shape));
  const client = async () => {
    const begun = performance.now();
    let tokens = 0;
    for (let i = 0; i < each.times; i++) {
      const asked = { ...endless(shape), prompt: prompt(3), max_tokens: each.tokens };
      const heard = await hear(server.address, COMPLETION, asked);
      if (heard.error || heard.tokens !== each.tokens) throw new Error(`${heard.tokens} tokens: ${heard.error}`);
      tokens += heard.tokens;
    }
    return { tokens, seconds: (performance.now() - begun) / 1000 };
  };
  const total = async (clients: number) => {
    const begun = performance.now();
    const all = await Promise.all(Array.from({ length: clients }, client));
    const seconds = (performance.now() - begun) / 1000;
    const times = all.map((one) => one.seconds);
    return {
      rate: all.reduce((sum, { tokens }) => sum + tokens, 0) / seconds,
      spread: Math.max(...times) / Math.min(...times),
    };
  };
  await total(8);
  const one: number[] = [];
  const eight: number[] = [];
  const spreads: number[] = [];
  for (let round = 0; round < rounds; round++) {
    one.push((await total(1)).rate);
    const many = await total(8);
    eight.push(many.rate);
    spreads.push(many.spread);
  }
  const ratios = eight.map((rate, i) => rate / one[i]!);
  console.log(
    `${shape}: one client ${several(one, 0)} tokens/s, eight ${several(eight, 0)}: ${several(ratios, 2)} times; slowest of eight ${several(spreads, 3)} times the fastest`,
  );
}

async function behind(shape: Shape): Promise<void> {
  await using server = await start(join(folder, shape));
  const firsts: number[] = [];
  const alone: number[] = [];
  const long: number[] = [];
  for (let round = 0; round <= rounds; round++) {
    const ask = (length: number) => ({ ...endless(shape), prompt: prompt(length), max_tokens: 4 });
    const first = hear(server.address, COMPLETION, ask(shape === "gpt2" ? 990 : 300));
    await Bun.sleep(30);
    const short = await hear(server.address, COMPLETION, ask(5));
    const whole = await first;
    for (const { error } of [short, whole]) if (error) throw new Error(error);
    const quiet = await hear(server.address, COMPLETION, ask(5));
    if (round === 0) continue;
    firsts.push(short.first);
    long.push(whole.first);
    alone.push(quiet.first);
  }
  console.log(
    `${shape}: first token of a short prompt behind a long one after ${several(firsts, 3)} s, alone ${several(alone, 3)} s; of the long one ${several(long, 3)} s`,
  );
}

if (parts.includes("throughput")) for (const shape of shapes) await throughput(shape);
if (parts.includes("behind")) for (const shape of shapes) await behind(shape);
if (parts.includes("dropped")) await dropped(join(folder, shapes[0]!), Number(values.clients));
if (parts.includes("mix")) await mix(join(folder, shapes[0]!), Number(values.minutes));
