/**
 * A run that is killed (`kill -9`) at random moments, each time followed by the same command, against one that is left alone: every weight, every
 * moment of an optimizer, every metric and every answer must be equal, bit for bit; only times may differ. Arguments: a config (configs/demo.toml),
 * how often (20), the seconds that the run takes undisturbed (180), a seed (1). What is found belongs into docs/log.md.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";

const [config = "configs/demo.toml", kills = "20", seconds = "180", seed = "1"] = process.argv.slice(2);
const TIMES = /per_second|seconds|^time\/|mtimeMs|^began$|^finished$/;
const folder = mkdtempSync(join(tmpdir(), "dawngrad-killed-"));
let state = Number(seed);

try {
  const [alone, killed] = [join(folder, "alone"), join(folder, "killed")];
  const start = performance.now();
  await run(alone);
  console.log(`left alone: ${took(start)}`);
  const again = performance.now();
  // Legs of a random length, in the mean their share of the run and what a kill takes back: a start, and the steps since the last checkpoint.
  const longest = 2 * (Number(seconds) / Number(kills) + 5);
  let killings = 0;
  for (let i = 0; i < Number(kills); i++) {
    const after = 0.5 + random() * longest;
    const { alive, doing } = await run(killed, after);
    if (!alive) break;
    killings++;
    console.log(`kill ${killings} after ${after.toFixed(1)} s: ${doing}`);
  }
  await run(killed);
  console.log(`killed ${killings} times: ${took(again)}`);
  const differing = [...different(alone, killed)];
  for (const path of differing) console.log(`differs: ${path}`);
  console.log(`${[...files(alone)].length} files compared, ${differing.length} differ`);
  process.exitCode = differing.length || killings < Number(kills) ? 1 : 0;
} finally {
  rmSync(folder, { recursive: true, force: true });
}

/** Runs the config, and kills it after so many seconds; says what it was doing. */
async function run(out: string, killAfter?: number): Promise<{ readonly alive: boolean; readonly doing: string }> {
  const child = Bun.spawn([process.execPath, "src/main.ts", "run", config, "--out", out], {
    stdout: "ignore",
    stderr: "pipe",
  });
  let alive = false;
  const timer =
    killAfter === undefined
      ? undefined
      : setTimeout(() => {
          alive = true;
          child.kill("SIGKILL");
        }, killAfter * 1000);
  const lines = (await child.stderr.text()).trim().split("\n");
  const code = await child.exited;
  clearTimeout(timer);
  if (!alive && code !== 0) throw new Error(`ended with ${code}:\n${lines.slice(-5).join("\n")}`);
  return { alive: alive && code !== 0, doing: lines.at(-1)!.slice(0, 100) };
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
  const [one, other] = [a, b].map((bytes, i) => {
    const text = `${bytes}`.replaceAll(runs[i]!, "RUN").trim();
    return (path.endsWith("l") ? text.split("\n") : [text]).map((line) => timeless(JSON.parse(line)));
  });
  return isDeepStrictEqual(one, other);
}

/** The same value without what a clock told. */
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
