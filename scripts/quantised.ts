/**
 * What quantisation costs: perplexity, divergence from the original, exact match and size of an assistant in every scheme, beside a control
 * that must lose more; then the logits of GPT-2 124M with random weights. Arguments: a trained run (runs/tales-assistant), its questions
 * (data/questions-test.jsonl), text to calibrate by (data/questions.jsonl). What is found belongs into docs/log.md.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readingBy } from "../src/app/locate";
import { probe } from "../src/app/merge";
import { modelDirectory, openModel } from "../src/app/model";
import { openDevice } from "../src/device/open";
import { likeness } from "../src/eval/likeness";
import { textSequences } from "../src/eval/sequence";
import { copyModel, openModelFiles } from "../src/formats/checkpoint";
import { presets } from "../src/model/architectures";
import { modelOf } from "../src/model/model";
import { initialise } from "../src/model/parameters";
import { type Quantisation, quantisations } from "../src/model/quantised";
import { Slab } from "../src/model/slab";
import { measureAnswers } from "../src/stages/evals/evaluate";
import { quantisedLines, writeQuantised } from "../src/stages/quantising";
import { sequencesOf } from "../src/stages/sequences";
import { loadTokenizer, writeTokenizer } from "../src/text/tokenizer";

const [run = "runs/tales-assistant", questions = "data/questions-test.jsonl", calibration = "data/questions.jsonl"] =
  process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), "dawngrad-quantised-"));
const console_ = { colour: false, note: () => {}, status: () => {}, done: () => {} };
const find = async (path: string) => path;
using device = openDevice("cpu");
try {
  const from = modelDirectory(run);
  const tokenizer = await loadTokenizer(from);
  const told = async (name: string, out: string) => {
    using opened = await openModel(device, out);
    const { figures } = await measureAnswers(
      opened,
      { data: questions, template: "auto", limit: 0, batch: 32, maxTokens: 64, ownHistory: false },
      readingBy(console_),
    );
    console.log(`${name}: exact match ${(100 * figures.exact_match).toFixed(2)}% of ${figures.answers}`);
  };
  await told("original", from);
  const tries: readonly (readonly [string, Quantisation, string | undefined])[] = [
    ...quantisations.map((scheme) => [scheme, scheme, undefined] as const),
    ["int4, calibrated", "int4", calibration],
  ];
  for (const [name, scheme, calibration] of tries) {
    const out = join(folder, name.replace(/\W/g, "-"));
    const how = { scheme, calibration, data: questions, template: "auto" };
    const figures = await writeQuantised(device, { from, out, tokenizer }, how, { console: console_, find });
    await told(name, out);
    for (const line of quantisedLines(figures).slice(1)) console.log(`  ${line}`);
  }
  await control(from);
  await shapeOfGpt2();
} finally {
  rmSync(folder, { recursive: true, force: true });
}

/** int4 whose scale and least value are the whole matrix's, and not those of 64 inputs: what the groups are for. */
async function control(from: string): Promise<void> {
  const out = join(folder, "control");
  mkdirSync(out);
  using stored = await openModelFiles(from);
  const tokenizer = await loadTokenizer(from);
  const values: typeof stored.values = (parameter) => {
    const own = stored.values(parameter);
    if (parameter.role !== "linear") return own;
    const least = own.reduce((a, b) => Math.min(a, b));
    const step = (own.reduce((a, b) => Math.max(a, b)) - least) / 15;
    return own.map((v) => least + step * Math.round((v - least) / step));
  };
  await copyModel(out, { model: stored.model, values }, tokenizer);
  await writeTokenizer(out, tokenizer.files);
  using original = await openModel(device, from);
  using other = await openModel(device, out);
  const { context } = original.model.config;
  const sequences = await sequencesOf(questions, { tokenizer, template: "auto", context, console: console_, find });
  const { tokens, nats, divergence } = await likeness(device, original, other, sequences);
  const lost = 100 * (Math.exp((nats.other - nats.original) / tokens) - 1);
  console.log(
    `int4 with one scale a matrix (the control): perplexity +${lost.toFixed(3)}%, divergence ${(divergence / tokens).toExponential(2)} nats a token`,
  );
}

/** Random weights as training begins with: the relative error of the logits, and the divergence, on 256 random tokens. */
async function shapeOfGpt2(): Promise<void> {
  const config = { ...presets.gpt2!, vocabulary: 50257, epsilon: 1e-5 };
  const model = modelOf(config);
  const random = initialise(model.parameters, 1);
  using weights = new Slab(device, model.parameters, { values: random });
  const ids = Uint32Array.from({ length: 257 }, (_, i) => (i * 7919 + 13) % config.vocabulary);
  for (const scheme of quantisations) {
    const quantised = modelOf({ ...config, quantised: scheme });
    using own = new Slab(device, quantised.parameters, { values: random });
    const { tokens, divergence } = await likeness(
      device,
      { model, slabs: [weights] },
      { model: quantised, slabs: [own] },
      textSequences(ids, 256),
    );
    const [exact, rounded] = [
      probe(device, { model, slabs: [weights] }),
      probe(device, { model: quantised, slabs: [own] }),
    ];
    const norm = (values: Float32Array) => Math.sqrt(values.reduce((sum, v) => sum + v * v, 0));
    const error = norm(exact.map((v, i) => v - rounded[i]!)) / norm(exact);
    const share = quantised.parameters.bytes / model.parameters.bytes;
    console.log(
      `gpt2, ${scheme}: relative error of the logits ${error.toExponential(2)}, divergence ${(divergence / tokens).toExponential(2)} nats a token, ${share.toFixed(4)} of the memory`,
    );
  }
}
