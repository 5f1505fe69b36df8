/**
 * What each way of learning from preferences makes of one and the same model: the tales' rule, style and truth of its answers to
 * held-out questions, greedy and sampled. Arguments: the fine-tuned model (runs/tales-aligned/sft), then names of ways, all if absent.
 */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checkConfig } from "../src/app/config-file";
import { locateParts, readingBy } from "../src/app/locate";
import { openModel } from "../src/app/model";
import { runPipeline } from "../src/app/pipeline";
import { openDevice } from "../src/device/open";
import { loadRule } from "../src/eval/rule";
import { openConsole } from "../src/log/console";
import { measureRule } from "../src/stages/evals/evaluate";

const [from = "runs/tales-aligned/sft", ...wanted] = process.argv.slice(2);

const shared = {
  data: ["data/preferences.jsonl", "data/preferences-general.jsonl"],
  validation: "data/preferences-test.jsonl",
  epochs: 4,
  batch: { rows: 8, tokens: 96 },
  evaluate: { every: 540, batches: 100 },
};

const ways: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  "DPO (sigmoid + sft)": { kind: "dpo", loss: "sigmoid+sft", beta: 0.5, optim: { lr: 1e-4, warmup: 10 } },
  "DPO (sigmoid)": { kind: "dpo", beta: 0.5, optim: { lr: 1e-4, warmup: 10 } },
  KTO: { kind: "kto", beta: 0.5, batch: { rows: 16, tokens: 96 }, optim: { lr: 1e-4, warmup: 10 } },
  ORPO: { kind: "orpo", beta: 1, optim: { lr: 3e-4, warmup: 10 } },
  "CPO (sigmoid)": { kind: "cpo", optim: { lr: 1e-4, warmup: 10 } },
  SimPO: { kind: "cpo", loss: "simpo", beta: 2.5, gamma: 1.375, optim: { lr: 3e-5, warmup: 10 } },
};

const console_ = openConsole();
using device = openDevice("cpu");
const rule = await loadRule("data/tales-rule.ts");

async function measure(path: string) {
  using opened = await openModel(device, await locateParts(path, console_));
  const row: string[] = [];
  for (const [temperature, samples] of [
    [0, 1],
    [1, 2],
  ] as const) {
    const options = { data: "data/rule-test.jsonl", template: "auto", temperature, samples, seed: 1337 };
    const { figures } = await measureRule(
      opened,
      { ...options, rule, passAt: [], by: "kind", limit: 0, batch: 16, maxTokens: 64 },
      readingBy(console_),
    );
    const percent = (name: string, group?: string) => {
      const { means } = group === undefined ? figures : figures.groups![group]!;
      return `${(100 * means[name]!.mean).toFixed(1)}`;
    };
    row.push(percent("score"), percent("style"), percent("truth"), percent("score", "fact"));
  }
  return row;
}

console.log(`| | rule | style | truth | facts without a pair | rule, T = 1 | style | truth | facts without a pair | seconds |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |`);
console.log(`| before | ${(await measure(from)).join(" | ")} | |`);
for (const [name, given] of Object.entries(ways)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  const directory = mkdtempSync(join(tmpdir(), "preferences-"));
  const config = checkConfig({ name: "way", model: { from }, stage: [{ ...shared, ...given }] });
  const start = performance.now();
  const { signal } = new AbortController();
  await runPipeline(config, { device, directory, console: console_, signal, write: () => {} });
  const seconds = (performance.now() - start) / 1000;
  console.log(`| ${name} | ${(await measure(directory)).join(" | ")} | ${seconds.toFixed(0)} |`);
}
