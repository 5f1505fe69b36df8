/**
 * What learning from rewards does, measured: sums by GRPO and RLOO over three seeds, dynamic sampling from fewer labels, a learning rate that
 * destroys the policy, and PPO on the tales. `bun scripts/reinforcement.ts [sums|dynamic|collapse|ppo] [--tales RUN]`: RUN is one of
 * configs/tales-ppo.toml or tales-aligned.toml, whose sft and reward stages are used. Runs go into a temporary folder.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { locateParts } from "../src/app/locate";
import { openModel } from "../src/app/model";
import { encodeSamples } from "../src/data/examples";
import { loadSamples } from "../src/data/samples";
import { templateFor } from "../src/data/template-for";
import { openDevice } from "../src/device/open";
import { completionLogProbs } from "../src/eval/completions";
import { records } from "../src/stages/examples";

const silent = { colour: false, note() {}, status() {}, done() {} };

const folder = join(tmpdir(), "dawngrad-reinforcement");
mkdirSync(folder, { recursive: true });

/** A command of dawngrad: what it prints, and its seconds. */
function dawngrad(...words: readonly string[]): { out: string; told: string; seconds: number } {
  const start = performance.now();
  const { stdout, stderr, exitCode } = Bun.spawnSync([process.execPath, "src/main.ts", ...words, "--device", "cpu"]);
  const told = stderr.toString();
  if (exitCode !== 0) throw new Error(`dawngrad ${words.join(" ")}: ${told}`);
  return { out: stdout.toString(), told, seconds: (performance.now() - start) / 1000 };
}

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1]!;
const percent = (share: number) => `${(100 * share).toFixed(1)}%`;

function exact(model: string, ...more: readonly string[]): number {
  const { out } = dawngrad(
    "eval",
    "rule",
    "--model",
    model,
    "--data",
    "data/sums-test.jsonl",
    "--rule",
    "exact",
    "--max-tokens",
    "5",
    "--json",
    "--batch",
    "64",
    ...more,
  );
  return JSON.parse(out).means.score.mean;
}

const both = (model: string) => ({ sampled: exact(model, "--temperature", "1"), greedy: exact(model) });

function metrics(run: string, stage: string): Record<string, number>[] {
  return readFileSync(join(run, stage, "metrics.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
}

const text = readFileSync("configs/sums.toml", "utf8");

/** The config of the sums with another second stage. */
function config(name: string, change: (text: string) => string): string {
  const path = join(folder, `${name}.toml`);
  writeFileSync(path, change(text));
  return path;
}

/** RLOO has no loss to choose, holds to a reference unless that is said, and takes the same number of answers of as many prompts. */
const asRloo = (text: string) => text.replace('kind = "grpo"', 'kind = "rloo"\nbeta = 0');

function sums(): void {
  const rloo = config("rloo", asRloo);
  const gains: Record<string, { sampled: number; greedy: number }[]> = { grpo: [], rloo: [] };
  for (const seed of [1337, 1, 2]) {
    for (const [kind, path] of [
      ["grpo", "configs/sums.toml"],
      ["rloo", rloo],
    ] as const) {
      const out = join(folder, `${kind}-${seed}`);
      const { seconds } = dawngrad("run", path, "--out", out, "--fresh", "--set", `seed=${seed}`);
      const [before, after] = [both(join(out, "sft")), both(join(out, kind))];
      gains[kind]!.push({ sampled: after.sampled - before.sampled, greedy: after.greedy - before.greedy });
      console.log(
        `${kind}, seed ${seed}: sampled ${percent(before.sampled)} -> ${percent(after.sampled)}, greedy ${percent(before.greedy)} -> ${percent(after.greedy)}, ${seconds.toFixed(0)} s with its fine-tuning`,
      );
    }
  }
  for (const [kind, all] of Object.entries(gains))
    console.log(
      `${kind}: in the median ${percent(median(all.map(({ sampled }) => sampled)))} more sampled, ${percent(median(all.map(({ greedy }) => greedy)))} more greedy`,
    );
}

function dynamic(): void {
  const fewer = (text: string) => text.replace("epochs = 100", "subset = 250\nepochs = 100");
  for (const [name, change] of [
    ["plain", fewer],
    ["dynamic", (text: string) => fewer(text).replace('kind = "grpo"', 'kind = "grpo"\ndynamicSampling = 20')],
  ] as const) {
    const out = join(folder, name);
    const { seconds } = dawngrad("run", config(name, change), "--out", out, "--fresh");
    const steps = metrics(out, "grpo").filter((line) => "reward" in line);
    const mean = (key: string) => steps.reduce((sum, line) => sum + (line[key] ?? 0), 0) / steps.length;
    const [before, after] = [both(join(out, "sft")), both(join(out, "grpo"))];
    const kept = name === "plain" ? "" : `, ${mean("prompts_drawn").toFixed(0)} prompts drawn for 32`;
    console.log(
      `250 labels, ${name}: sampled ${percent(before.sampled)} -> ${percent(after.sampled)}, greedy ${percent(before.greedy)} -> ${percent(after.greedy)}; groups without signal ${percent(mean("frac_reward_zero_std"))}${kept}; ${seconds.toFixed(0)} s`,
    );
  }
}

function collapse(): void {
  for (const lr of ["1e-3", "3e-3"]) {
    const out = join(folder, `collapse-${lr}`);
    const { told } = dawngrad("run", "configs/sums.toml", "--out", out, "--fresh", "--set", `stage.1.optim.lr=${lr}`);
    const notices = told.split("\n").filter((line) => /collapse|no learning signal/.test(line));
    const rewards = metrics(out, "grpo").flatMap(({ reward, step }) =>
      reward === undefined ? [] : [[step!, reward] as const],
    );
    console.log(
      `lr ${lr}: reward ${rewards
        .filter((_, i) => i % 5 === 0)
        .map(([step, reward]) => `${step}: ${reward.toFixed(2)}`)
        .join(", ")}`,
    );
    console.log(notices.join("\n") || "  no notice");
  }
}

/** Of answers under a model, token by token. */
async function perplexity(model: string, said: string): Promise<number> {
  using device = openDevice("cpu");
  using opened = await openModel(device, await locateParts(model, silent));
  const { tokenizer } = opened;
  const loaded = await loadSamples(said, { trees: records.trees.parse(undefined), strict: true });
  const template = templateFor("auto", loaded.format, tokenizer);
  const { examples } = encodeSamples(loaded, { tokenizer, template, tokens: 128, cut: "open", strict: false });
  let nats = 0;
  const scoring = { device, model: opened.model, slabs: opened.slabs, rows: 32, length: 128 };
  for await (const [, logProb] of completionLogProbs(
    scoring,
    examples.map((example) => ({ example })),
  ))
    nats -= logProb;
  return Math.exp(nats / examples.reduce((sum, { targets }) => sum + targets, 0));
}

/** Shares of different pairs of words among all pairs, over all answers. */
function distinct(answers: readonly string[]): number {
  const pairs = answers.flatMap((answer) => {
    const words = answer.split(/\s+/).filter(Boolean);
    return words.slice(1).map((word, i) => `${words[i]} ${word}`);
  });
  return new Set(pairs).size / pairs.length;
}

async function ppo(tales: string): Promise<void> {
  const out = join(folder, "ppo");
  const stage = readFileSync("configs/tales-ppo.toml", "utf8").split("[[stage]]").at(-1)!;
  const path = join(folder, "ppo.toml");
  const [sft, reward] = [join(tales, "sft"), join(tales, "reward")];
  writeFileSync(
    path,
    `name = "ppo"\nseed = 1337\n[[stage]]${stage.replace('from = "sft"', `from = "${sft}"`).replace('["reward"]', `["${reward}"]`)}`,
  );
  const { seconds } = dawngrad("run", path, "--out", out, "--fresh");
  const measured = async (model: string) => {
    const answers = join(folder, "answers.jsonl");
    const common = ["--data", "data/rule-test.jsonl", "--max-tokens", "40"];
    const rule = JSON.parse(
      dawngrad(
        "eval",
        "rule",
        "--model",
        model,
        ...common,
        "--rule",
        "data/tales-rule.ts",
        "--temperature",
        "1",
        "--samples",
        "2",
        "--json",
        "--out",
        answers,
      ).out,
    );
    const best = JSON.parse(
      dawngrad(
        "eval",
        "best-of",
        "--model",
        model,
        "--reward",
        reward,
        ...common,
        "--rule",
        "data/tales-rule.ts",
        "--json",
      ).out,
    );
    const lines = readFileSync(answers, "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    const said = join(folder, "said.jsonl");
    writeFileSync(
      said,
      lines
        .map(({ question, answer }) => `${JSON.stringify({ instruction: question, output: answer || "." })}\n`)
        .join(""),
    );
    return {
      rule: rule.means,
      best,
      perplexity: await perplexity(sft, said),
      distinct: distinct(lines.map(({ answer }) => answer)),
      said: lines as { question: string; answer: string }[],
    };
  };
  const [before, after] = [await measured(sft), await measured(out)];
  const steps = metrics(out, "ppo").filter((line) => "objective/kl" in line);
  const last = steps.slice(-Math.floor(steps.length / 4));
  const kl = last.reduce((sum, line) => sum + line["objective/kl"]!, 0) / last.length;
  const line = (name: string, get: (one: typeof before) => number, show = percent) =>
    console.log(`${name.padEnd(28)} ${show(get(before)).padStart(8)} ${show(get(after)).padStart(8)}`);
  console.log(`PPO, ${seconds.toFixed(0)} s: before, after`);
  for (const name of ["score", "style", "truth"]) line(`rule: ${name}`, ({ rule }) => rule[name].mean);
  line(
    "reward",
    ({ best }) => best.reward.all.mean,
    (v) => v.toFixed(3),
  );
  line(
    "distinct-2",
    ({ distinct }) => distinct,
    (v) => v.toFixed(4),
  );
  line(
    "perplexity of its answers under the first model",
    ({ perplexity }) => perplexity,
    (v) => v.toFixed(3),
  );
  line(
    "best of 4: reward",
    ({ best }) => best.reward.best.mean,
    (v) => v.toFixed(3),
  );
  line("best of 4: rule", ({ best }) => best.rule.score.best.mean);
  console.log(`KL in the last quarter ${kl.toFixed(2)} nats, target ${/target = ([\d.]+)/.exec(stage)![1]}`);
}

const [which, ...more] = process.argv.slice(2);
const tales = more[more.indexOf("--tales") + 1] ?? "runs/tales-ppo";
if (!which || which === "sums") sums();
if (!which || which === "dynamic") dynamic();
if (!which || which === "collapse") collapse();
if (!which || which === "ppo") await ppo(tales);
