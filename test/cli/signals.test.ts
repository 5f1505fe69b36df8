/** Signals and closed pipes in the middle of long work: heard at once, with the exit code of shells, and nothing half done is left. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { openSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { randomAt } from "../../src/ops/random";
import { temporaryFolder } from "../support/folder";
import { readUntil } from "../support/read-until";

const folder = temporaryFolder();
afterAll(() => folder[Symbol.dispose]());
const at = (name: string) => join(folder.path, name);

function spawn(words: readonly string[], stdout: "pipe" | number = "pipe", program: readonly string[] = []) {
  const env = { ...process.env, DAWNGRAD_CACHE: at("cache") };
  return Bun.spawn([...program, process.execPath, "src/main.ts", ...words], {
    stdin: "ignore",
    stdout,
    stderr: "pipe",
    env,
  });
}

/** Words of which hardly two are the same: a vocabulary takes minutes. */
function manyWords(count: number): string {
  const letter = (i: number, j: number) => String.fromCharCode(97 + Math.floor(26 * randomAt(1, j, i)));
  return Array.from({ length: count }, (_, i) => Array.from({ length: 9 }, (_, j) => letter(i, j)).join("")).join(" ");
}

beforeAll(async () => {
  writeFileSync(at("text.txt"), "a rose is a rose is a rose. ".repeat(8000));
  writeFileSync(at("words.txt"), manyWords(40_000));
  const sizes = ["--tokenizer", "character", "--steps", "1", "--warmup", "0", "--rows", "1", "--tokens", "16"];
  const small = ["--set", "model.width=16", "--set", "model.heads=1"];
  const words = ["pretrain", "--data", at("text.txt"), "--out", at("run"), "--device", "cpu", ...sizes, ...small];
  expect(await spawn(words).exited).toBe(0);
}, 60000);

const model = () => ["--model", at("run"), "--device", "cpu"];
/** The end token is never drawn. */
const endless = ["--max-tokens", "1000000", "--logit-bias", "8=-100"];
const long: [string, () => string[], RegExp][] = [
  [
    "training a BPE",
    () => ["tokenizer", "train", "--data", at("words.txt"), "--size", "60000", "--out", at("made")],
    /training the tokenizer/,
  ],
  [
    "a run that trains its tokenizer",
    () => ["pretrain", "--data", at("words.txt"), "--vocabulary", "60000", "--device", "cpu", "--out", at("made")],
    /training the tokenizer/,
  ],
  [
    "measuring a text",
    () => ["eval", "perplexity", ...model(), "--data", at("text.txt"), "--stride", "1"],
    /window \d/,
  ],
  ["measuring devices", () => ["bench", "--device", "cpu"], /matmul/],
  ["writing answers", () => ["generate", ...model(), "--prompt", "a", "--prompt", "ro", ...endless, "--json"], /^/],
];

test.each(long.flatMap((each, i) => [[...each, (["SIGINT", "SIGTERM", "SIGHUP"] as const)[i % 3]!] as const]))(
  "%s ends at once",
  async (_name, words, begun, signal) => {
    const child = spawn(words());
    if (begun.source === "^") await Bun.sleep(1500);
    else expect(await readUntil(child.stderr, begun)).toMatch(begun);
    const sent = performance.now();
    child.kill(signal);
    await child.exited;
    expect(child.exitCode).toBe({ SIGINT: 130, SIGTERM: 143, SIGHUP: 129 }[signal]);
    expect(performance.now() - sent).toBeLessThan(1500);
    expect(await readUntil(child.stderr, /bug|error/)).not.toMatch(/bug|error/);
    const left = readdirSync(folder.path, { recursive: true }).map(String);
    expect(left.filter((name) => name.endsWith(".tmp") || name.includes("tokenizer.json")).sort()).toEqual(
      left.filter((name) => /^run.*tokenizer\.json$/.test(name)).sort(),
    );
  },
  20000,
);

test.if(process.platform === "linux")(
  "nohup keeps it from hearing SIGHUP",
  async () => {
    const child = spawn(["eval", "perplexity", ...model(), "--data", at("text.txt"), "--stride", "1"], "pipe", [
      "nohup",
    ]);
    await readUntil(child.stderr, /window \d/);
    child.kill("SIGHUP");
    expect(await readUntil(child.stderr, /window \d/)).toMatch(/window \d/);
    child.kill("SIGTERM");
    expect(await child.exited).toBe(143);
  },
  20000,
);

test("who stops reading stops the writing, without a word", async () => {
  const child = spawn(["generate", ...model(), "--prompt", "a", ...endless]);
  const stdout = child.stdout as ReadableStream<Uint8Array>;
  await readUntil(stdout, /../);
  await stdout.cancel();
  expect([await child.exited, await child.stderr.text()]).toEqual([0, ""]);
}, 20000);

test.if(process.platform === "linux")(
  "a full disk as standard output is one sentence",
  async () => {
    const full = openSync("/dev/full", "w");
    for (const words of [["generate", ...model(), "--prompt", "a"], ["inspect", "micro"], ["--help"]]) {
      const child = spawn(words, full);
      const told = await child.stderr.text();
      expect([await child.exited, told]).toEqual([1, "error: standard output cannot be written: the disk is full\n"]);
    }
  },
  20000,
);
