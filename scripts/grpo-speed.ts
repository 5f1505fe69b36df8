/**
 * How fast a step of GRPO is: rollout, rewards and update of the micro shape beside TRL's on the same machine, round by round in turn. And how
 * many tokens a second rollouts have by their slots, and what a round of PPO spends its time on.
 * `bun scripts/grpo-speed.ts [--python PYTHON] [--device cpu] [trl] [slots] [ppo]`
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openDevice } from "../src/device/open";
import { scalarOf } from "../src/formats/checkpoint";
import { Engine } from "../src/generate/engine";
import { sampling } from "../src/generate/sampling";
import type { ModelConfig } from "../src/model/architecture";
import { presets } from "../src/model/architectures";
import { modelOf } from "../src/model/model";
import { initialise } from "../src/model/parameters";
import { Slab } from "../src/model/slab";
import type { Built, Context } from "../src/stages/context";
import * as grpo from "../src/stages/grpo";
import * as ppo from "../src/stages/ppo";
import { trainBpe } from "../src/text/bpe";
import { tokenizerFrom } from "../src/text/tokenizer";
import { fit } from "../src/train/fit";
import type { Training } from "../src/train/settings";

const words = process.argv.slice(2);
const option = (name: string, otherwise: string) => {
  const at = words.indexOf(`--${name}`);
  return at < 0 ? otherwise : words.splice(at, 2)[1]!;
};
const python = option("python", "python3");
using device = openDevice(option("device", "cpu"));
const wanted = (name: string) => words.length === 0 || words.includes(name);
console.log(`${device.info.name} (${device.info.kind})`);

const VOCABULARY = 640;
const [ANSWER, PROMPT] = [32, 16];
const tokenizer = tokenizerFrom(trainBpe([await Bun.file("data/tales.txt").text()], { size: VOCABULARY }));
const text = (await Bun.file("data/tales.txt").text()).replaceAll("\n", " ");
const size: ModelConfig = { ...presets.micro!, vocabulary: tokenizer.size, context: 128, epsilon: 1e-5 };
const folder = mkdtempSync(join(tmpdir(), "dawngrad-speed-"));

/** Prompts of exactly so many tokens. */
function prompts(count: number): string {
  const ids = tokenizer.encode(text.slice(0, 200_000));
  const path = join(folder, "prompts.jsonl");
  const found = new Set<string>();
  for (let at = 0; found.size < count; at += PROMPT) {
    const prompt = tokenizer.decode(ids.slice(at, at + PROMPT));
    if (tokenizer.encode(prompt).length === PROMPT) found.add(JSON.stringify({ prompt }));
  }
  writeFileSync(path, [...found].map((line) => `${line}\n`).join(""));
  return path;
}

interface Kind {
  readonly schema: { parse(given: unknown): unknown };
  settings(config: never): Training;
  build(config: never, context: Context): Promise<Built>;
}

interface Lap {
  readonly seconds: number;
  readonly metrics: Readonly<Record<string, number>>;
}

/** Trains so many steps from random weights; of each the seconds to the next, and what is told of it. */
async function laps({ schema, settings, build }: Kind, given: object, steps: number): Promise<Lap[]> {
  const config = schema.parse({
    data: prompts(512),
    validation: "none",
    save: { every: 1000 },
    samples: { every: 0 },
    logEvery: 1000,
    ...given,
  });
  const model = modelOf(size);
  using weights = new Slab(device, model.parameters, { values: initialise(model.parameters, 1) });
  const directory = mkdtempSync(join(folder, "run-"));
  const silent = { colour: false, note() {}, status() {}, done() {} };
  const context: Context = {
    device,
    seed: 1,
    tokenizer,
    model,
    weights,
    base: null,
    console: silent,
    find: async (path) => path,
    locate: async () => null,
    directory,
    signal: new AbortController().signal,
    async open() {
      const scalar = modelOf(scalarOf(size));
      const slab = new Slab(device, scalar.parameters, { values: initialise(scalar.parameters, 3) });
      return { model: scalar, weights: slab, tokenizer, base: null, [Symbol.dispose]: () => slab[Symbol.dispose]() };
    },
  };
  using stage = await build(config as never, context);
  const marks: number[] = [];
  const told: Record<string, number>[] = [];
  const timed: Built = {
    ...stage,
    steps,
    async *step(step, share) {
      device.wait();
      marks.push(performance.now());
      const here: Record<string, number> = {};
      for await (const batch of stage.step(step, share)) {
        Object.assign(here, batch.metrics);
        yield batch;
      }
      told.push(here);
    },
    [Symbol.dispose]() {},
  };
  await fit(timed, { ...context, name: "speed", settings: settings(config as never) });
  return marks.slice(1).map((mark, i) => ({ seconds: (mark - marks[i]!) / 1000, metrics: told[i]! }));
}

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1]!;
const spread = (values: readonly number[]) =>
  `${Math.round(median(values)).toLocaleString("en")} (${Math.round(Math.min(...values)).toLocaleString("en")} to ${Math.round(Math.max(...values)).toLocaleString("en")})`;

async function ours(answers: number, steps: number): Promise<number[]> {
  const found = await laps(
    grpo,
    {
      kind: "grpo",
      rewards: ["repetition:1"],
      rollout: { prompts: answers / 8, samples: 8, tokens: ANSWER, together: Math.min(answers, 64) },
      batch: { rows: Math.min(answers, 64) },
      optim: { lr: 1e-4, steps: steps + 1 },
    },
    steps + 1,
  );
  return found.slice(1).map(({ seconds, metrics }) => (answers * metrics["completions/mean_length"]!) / seconds);
}

function theirs(answers: number, steps: number): number[] {
  const { stdout, exitCode, stderr } = Bun.spawnSync([
    python,
    "scripts/against-trl.py",
    ...[answers, ANSWER, PROMPT, VOCABULARY, steps].map(String),
  ]);
  if (exitCode !== 0) throw new Error(stderr.toString());
  return stdout
    .toString()
    .trim()
    .split("\n")
    .map(Number)
    .filter((value) => value > 0);
}

if (wanted("trl")) {
  for (const answers of [256, 16]) {
    const [mine, other]: [number[], number[]] = [[], []];
    for (let round = 0; round < 3; round++) {
      mine.push(...(await ours(answers, 8)));
      other.push(...theirs(answers, 8));
    }
    console.log(
      `GRPO, ${answers} answers of ${ANSWER} tokens: ${spread(mine)} completion tokens/s, TRL ${spread(other)}: ${(median(mine) / median(other)).toFixed(2)} times`,
    );
  }
}

if (wanted("slots")) {
  for (const [name, vocabulary, slots, tokens] of [
    ["micro", VOCABULARY, [1, 16, 64, 256], 48],
    ["gpt2", 50257, [1, 16], 16],
  ] as const) {
    const model = modelOf({ ...presets[name]!, vocabulary, epsilon: 1e-5 });
    using weights = new Slab(device, model.parameters, { values: initialise(model.parameters, 1) });
    using engine = new Engine(device, model, [weights]);
    let one = 0;
    for (const together of slots) {
      const all = Array.from({ length: 2 * together }, (_, i) =>
        Array.from({ length: PROMPT }, (_, t) => 1 + ((7 * i + t) % 500)),
      );
      const options = {
        ...sampling.parse({ temperature: 1, maxTokens: tokens }),
        together,
        logProbs: "tempered" as const,
      };
      const run = () => {
        const start = performance.now();
        let written = 0;
        for (const ended of engine.rolloutSteps(all, options)) for (const { ids } of ended) written += ids.length;
        return (1000 * written) / (performance.now() - start);
      };
      run();
      const speed = median([run(), run(), run()]);
      one ||= speed;
      console.log(
        `${name}, rollouts in ${together} slots: ${Math.round(speed).toLocaleString("en")} tokens/s, ${(speed / one).toFixed(2)} times one`,
      );
    }
  }
}

if (wanted("ppo")) {
  const steps = 4 * 12;
  const found = await laps(
    ppo,
    {
      kind: "ppo",
      rewards: ["reward"],
      rollout: { prompts: 128, tokens: ANSWER, temperature: 1, together: 128 },
      batch: { rows: 64 },
      passes: 2,
      minibatches: 2,
      optim: { lr: 1e-4, steps: steps + 1 },
    },
    steps + 1,
  );
  const rounds = Array.from({ length: 11 }, (_, r) => found.slice(4 * (r + 1), 4 * (r + 2)));
  const shares = rounds.map((laps) => {
    const whole = laps.reduce((sum, { seconds }) => sum + seconds, 0);
    const { "time/rollout": rollout, "time/scoring": scoring, "time/round": round } = laps[0]!.metrics;
    // The update is what the steps take beyond the making of the round.
    return {
      rollout: rollout! / whole,
      scoring: scoring! / whole,
      update: (whole - round!) / whole,
      rest: (round! - rollout! - scoring!) / whole,
    };
  });
  const of = (key: keyof (typeof shares)[number]) => `${(100 * median(shares.map((share) => share[key]))).toFixed(1)}%`;
  console.log(
    `a round of PPO: rollout ${of("rollout")}, scoring ${of("scoring")}, update ${of("update")}, the rest ${of("rest")}`,
  );
}
rmSync(folder, { recursive: true });
