/**
 * AdamW, Muon and Lion on the tales: the demo's model at equal steps, each at several rates, then at equal time: as many steps as AdamW's time
 * has room for. Arguments: seeds (1337). What is found belongs into docs/log.md.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checkConfig } from "../src/app/config-file";
import { runPipeline } from "../src/app/pipeline";
import { openDevice } from "../src/device/open";

const STEPS = 700;
const seeds = process.argv.length > 2 ? process.argv.slice(2).map(Number) : [1337];
const tries = [
  { kind: "adamw", rates: [1.5e-3, 3e-3, 6e-3, 1e-2], more: { beta2: 0.99 } },
  { kind: "muon", rates: [3e-3, 6e-3, 1e-2, 2e-2], more: { beta2: 0.99 } },
  { kind: "lion", rates: [3e-4, 6e-4, 1e-3, 2e-3], more: { beta2: 0.99, weightDecay: 0.3 } },
];
const folder = mkdtempSync(join(tmpdir(), "dawngrad-optimizers-"));
using device = openDevice("cpu");
let made = 0;
try {
  let allowed = 0;
  for (const { kind, rates, more } of tries) {
    const found = [];
    for (const lr of rates) found.push({ lr, ...(await mean({ kind, lr, ...more }, STEPS)) });
    for (const { lr, loss, seconds } of found)
      console.log(`${kind}, rate ${lr}: ${loss.toFixed(4)} after ${STEPS} steps in ${seconds.toFixed(1)} s`);
    const best = found.reduce((a, b) => (b.loss < a.loss ? b : a));
    allowed ||= best.seconds;
    const steps = Math.round((STEPS * allowed) / best.seconds);
    if (kind !== "adamw") {
      const { loss, seconds } = await mean({ kind, lr: best.lr, ...more }, steps);
      console.log(
        `${kind}, rate ${best.lr}, in AdamW's time: ${loss.toFixed(4)} after ${steps} steps in ${seconds.toFixed(1)} s`,
      );
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}

async function mean(optim: object, steps: number) {
  const all: { readonly loss: number; readonly seconds: number }[] = [];
  for (const seed of seeds) all.push(await run(seed, optim, steps));
  const of = (key: "loss" | "seconds") => all.reduce((sum, one) => sum + one[key], 0) / all.length;
  return { loss: of("loss"), seconds: of("seconds") };
}

async function run(seed: number, optim: object, steps: number): Promise<{ loss: number; seconds: number }> {
  const directory = join(folder, `${made++}`);
  mkdirSync(directory);
  const found = { loss: Number.NaN, seconds: Number.NaN };
  const config = checkConfig({
    name: "tales",
    seed,
    model: { preset: "micro" },
    tokenizer: { kind: "bpe", size: 640 },
    stage: [
      {
        kind: "pretrain",
        data: "data/tales.txt",
        validation: 0.05,
        batch: { rows: 8, tokens: 128 },
        optim: { steps, warmup: 30, ...optim },
        evaluate: { every: steps, batches: 8 },
        save: { every: steps },
      },
    ],
  });
  const start = performance.now();
  await runPipeline(config, {
    device,
    directory,
    console: {
      colour: false,
      note(text) {
        const loss = /best validation loss (\d+\.\d+)/.exec(text);
        if (loss) found.loss = Number(loss[1]);
      },
      status() {},
      done() {},
    },
    signal: new AbortController().signal,
    write() {},
  });
  return { ...found, seconds: (performance.now() - start) / 1000 };
}
