/**
 * What distillation brings: students of the tales' teacher beside the same students on the data alone, at equal steps, on all the tales and on
 * a tenth of them, for several seeds; then students made of layers of a teacher of four. Arguments: seeds (1337 1 2). What is found belongs
 * into docs/log.md.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { checkConfig } from "../src/app/config-file";
import { runPipeline } from "../src/app/pipeline";
import { openDevice } from "../src/device/open";

const seeds = process.argv.length > 2 ? process.argv.slice(2).map(Number) : [1337, 1, 2];
let made = 0;
const tales = resolve("data/tales.txt");
const folder = mkdtempSync(join(tmpdir(), "dawngrad-distilling-"));
using device = openDevice("cpu");
try {
  const tenth = join(folder, "tenth.txt");
  const text = readFileSync(tales, "utf8");
  writeFileSync(tenth, text.slice(0, text.indexOf("\n", text.length / 10)));
  const teacher = await run("teacher", 1337, {
    model: { preset: "micro" },
    tokenizer: { kind: "bpe", size: 640 },
    stage: [{ kind: "pretrain", ...learning(tales, 3e-3) }],
  });
  console.log(`the teacher: ${teacher.loss.toFixed(4)}`);
  const small = { layers: 1, heads: 4, width: 64, context: 128 };
  for (const [name, data] of [
    ["all the tales", tales],
    ["a tenth of the tales", tenth],
  ] as const)
    for (const lr of [3e-3, 1e-2])
      for (const seed of seeds) {
        const student = (how: object) =>
          distilled(teacher.directory, seed, { ...learning(data, lr), model: small, ...how });
        const alone = await run(`alone-${lr}`, seed, {
          model: small,
          tokenizer: { kind: "file", path: join(teacher.directory, "tokenizer") },
          stage: [{ kind: "pretrain", ...learning(data, lr) }],
        });
        const only = await student({ temperature: 1, weights: { divergence: 1, data: 0 } });
        const both = await student({ temperature: 1, weights: { divergence: 1, data: 0, relations: 10 } });
        const classic = await student({});
        const closed = ({ loss }: Made) => (100 * (alone.loss - loss)) / (alone.loss - teacher.loss);
        const told = (made: Made) => `${made.loss.toFixed(4)} (closes ${closed(made).toFixed(1)}%)`;
        console.log(
          `${name}, rate ${lr}, seed ${seed}: alone ${alone.loss.toFixed(4)}; divergence ${told(only)}; with relations ${told(both)}; DistilGPT2's weights ${told(classic)}`,
        );
      }
  const deep = { layers: 4, heads: 4, width: 128, context: 128 };
  const four = await run("four", 1337, {
    model: deep,
    tokenizer: { kind: "file", path: join(teacher.directory, "tokenizer") },
    stage: [{ kind: "pretrain", ...learning(tales, 3e-3) }],
  });
  console.log(`a teacher of four layers: ${four.loss.toFixed(4)}`);
  const short = learning(tales, 1e-3, 150);
  const copied = await distilled(four.directory, 1337, { ...short, layers: 2 });
  const fresh = await distilled(four.directory, 1337, { ...short, model: { ...deep, layers: 2 } });
  console.log(
    `two layers, 150 steps at 1e-3: copied 0 and 3 ${copied.loss.toFixed(4)}, fresh ${fresh.loss.toFixed(4)}`,
  );
} finally {
  rmSync(folder, { recursive: true, force: true });
}

interface Made {
  readonly directory: string;
  /** Nats a token of the held-out tales. */
  readonly loss: number;
}

function learning(data: string, lr: number, steps = 700) {
  return {
    data,
    // What is held out is the same, however much is learned from.
    validation: data === tales ? 0.05 : heldOut(),
    batch: { rows: 8, tokens: 128 },
    optim: { steps, lr, warmup: 30, beta2: 0.99, weightDecay: 0.1 },
    evaluate: { every: steps, batches: 8 },
    save: { every: steps },
  };
}

function heldOut(): string {
  const path = join(folder, "held-out.txt");
  const text = readFileSync(tales, "utf8");
  writeFileSync(path, text.slice(text.indexOf("\n", 0.95 * text.length)));
  return path;
}

function distilled(teacher: string, seed: number, how: object): Promise<Made> {
  const tokenizer = { kind: "file", path: join(teacher, "tokenizer") };
  return run("student", seed, { tokenizer, stage: [{ kind: "distill", reads: "text", teacher, ...how }] });
}

async function run(name: string, seed: number, config: object): Promise<Made> {
  const directory = join(folder, `${name}-${made++}`);
  mkdirSync(directory);
  let loss = Number.NaN;
  const hear = (text: string) => {
    const found = /best validation loss (\d+\.\d+)/.exec(text);
    if (found) loss = Number(found[1]);
  };
  await runPipeline(checkConfig({ name, seed, ...config }), {
    device,
    directory,
    console: { colour: false, note: hear, status() {}, done() {} },
    signal: new AbortController().signal,
    write() {},
  });
  return { directory, loss };
}
