/**
 * A run that is killed (`kill -9`) at random moments, each time followed by the same command, against one that is left alone: every weight, every
 * moment of an optimizer, every metric and every answer must be equal, bit for bit; only times may differ. The moments are uniform over the run's
 * progress, by what its `[seconds]` say of its stages. Arguments: a config (configs/demo.toml), how often (20), a seed (1). What is found belongs
 * into docs/log.md.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { readConfigFile } from "../src/app/config-file";

const [config = "configs/demo.toml", kills = "20", seed = "1"] = process.argv.slice(2);
const TIMES = /per_second|seconds|^time\/|mtimeMs|^began$|^finished$|^seen$/;
const folder = mkdtempSync(join(tmpdir(), "dawngrad-killed-"));
const { stage, seconds } = await readConfigFile(config);
const lasting = stage.map(({ kind, name = kind }) => seconds[name] ?? 1);
const whole = lasting.reduce((a, b) => a + b, 0);
// A stage that only measures tells of no steps: nothing behind the last one that trains is aimed at.
const last = lasting.slice(0, 1 + stage.findLastIndex((one) => "optim" in one)).reduce((a, b) => a + b, 0) / whole;
let state = Number(seed);

try {
  const [alone, killed] = [join(folder, "alone"), join(folder, "killed")];
  const start = performance.now();
  await run(alone);
  console.log(`left alone: ${took(start)}`);
  const again = performance.now();
  const moments = Array.from({ length: Number(kills) }, () => last * random()).sort((a, b) => a - b);
  let killings = 0;
  for (const moment of moments) {
    const { alive, doing } = await run(killed, moment);
    if (alive) console.log(`kill ${++killings} at ${(100 * moment).toFixed(1)}%: ${doing}`);
  }
  await run(killed);
  console.log(`killed ${killings} times: ${took(again)}`);
  const differing = [...different(alone, killed)];
  for (const path of differing) console.log(`differs: ${path}`);
  console.log(`${[...files(alone)].length} files compared, ${differing.length} differ`);
  process.exitCode = differing.length > 0 || killings < Number(kills) ? 1 : 0;
} finally {
  rmSync(folder, { recursive: true, force: true });
}

/** Runs the config; kills it soon after it has come so far, from 0 to 1, and says what it was doing then. */
async function run(out: string, until?: number): Promise<{ readonly alive: boolean; readonly doing: string }> {
  const child = Bun.spawn([process.execPath, "src/main.ts", "run", config, "--out", out], {
    stdout: "ignore",
    stderr: "pipe",
  });
  let [alive, doing, said] = [false, "", ""];
  for await (const part of child.stderr.pipeThrough(new TextDecoderStream())) {
    said += part;
    const lines = said.split("\n");
    doing = lines.at(-2) ?? doing;
    if (until === undefined || alive || !lines.some((line) => (cameTo(line) ?? 0) >= until)) continue;
    alive = true;
    // Not at a line's end, but somewhere behind it.
    setTimeout(() => child.kill("SIGKILL"), 400 * random());
  }
  const code = await child.exited;
  if (!alive && code !== 0) throw new Error(`ended with ${code}:\n${said.slice(-1000)}`);
  return { alive: child.signalCode === "SIGKILL", doing: doing.slice(0, 100) };
}

/** How far a run has come, from 0 to 1, by a line of its progress. */
function cameTo(line: string): number | null {
  const at = /^\[(\d+)\/\d+.*?\]/.exec(line);
  if (!at) return null;
  const index = Number(at[1]) - 1;
  const step = /step (\d+)\/(\d+)/.exec(line);
  const share = step ? Number(step[1]) / Number(step[2]) : 0;
  return (lasting.slice(0, index).reduce((a, b) => a + b, 0) + share * lasting[index]!) / whole;
}

function* files(run: string): Generator<string> {
  for (const path of new Bun.Glob("**/*").scanSync(run)) {
    // Event files are named for their process; what they hold stands in metrics.jsonl.
    if (!path.includes("@") && !path.includes("events.out")) yield path;
  }
}

function* different(one: string, other: string): Generator<string> {
  for (const path of new Set([...files(one), ...files(other)])) {
    const [a, b] = [join(one, path), join(other, path)];
    if (!existsSync(a) || !existsSync(b)) yield `${path} is there once`;
    else if (!equal(path, readFileSync(a), readFileSync(b), [one, other])) yield path;
  }
}

function equal(path: string, a: Buffer, b: Buffer, runs: readonly [string, string]): boolean {
  if (a.equals(b)) return true;
  if (!/\.jsonl?$/.test(path)) return false;
  // The hash of results, which hold times.
  const measures = existsSync(join(runs[0], path, "..", "results.json"));
  const [one, other] = [a, b].map((bytes, i) => {
    const text = `${bytes}`.replaceAll(runs[i]!, "RUN").trim();
    return (path.endsWith("l") ? text.split("\n") : [text]).map((line) => {
      const { output, ...rest } = JSON.parse(line) as Record<string, unknown>;
      return timeless(measures ? rest : { output, ...rest });
    });
  });
  return isDeepStrictEqual(one, other);
}

/** The same value without what a clock told, and without which files a process has read (`seen`): one that goes on reads fewer. */
function timeless(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(timeless);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, one]) => (TIMES.test(key) ? [] : [[key, timeless(one)]])),
  );
}

/** Uniform in [0, 1): a Weyl sequence with xorshift, so that a seed has its moments. */
function random(): number {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
  return ((state ^ (state >>> 16)) >>> 0) / 2 ** 32;
}

function took(start: number): string {
  return `${((performance.now() - start) / 1000).toFixed(0)} s`;
}
