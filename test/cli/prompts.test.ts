/** Files of prompts: what a line is answered with does not depend on its place or its batch, and a bad line stops no other. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { temporaryFolder } from "../support/folder";

const folder = temporaryFolder();
afterAll(() => folder[Symbol.dispose]());
const at = (name: string) => join(folder.path, name);

async function run(...words: string[]) {
  const env = { ...process.env, DAWNGRAD_CACHE: at("cache") };
  const child = Bun.spawn([process.execPath, "src/main.ts", ...words, "--device", "cpu"], {
    env,
    stdin: "ignore",
    stderr: "pipe",
  });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  return { stdout, stderr, code: await child.exited };
}

beforeAll(async () => {
  writeFileSync(at("text.txt"), "a rose is a rose is a rose. ".repeat(80));
  const sizes = ["--tokenizer", "character", "--steps", "1", "--rows", "1", "--tokens", "16"];
  const { code } = await run("pretrain", "--data", at("text.txt"), "--out", at("run"), ...sizes);
  expect(code).toBe(0);
}, 30000);

interface Answer {
  readonly prompt: string;
  readonly text?: string;
  readonly error?: string;
}

async function answers(prompts: readonly object[], ...more: string[]) {
  writeFileSync(at("p.jsonl"), `${prompts.map((line) => JSON.stringify(line)).join("\n\n")}\n`);
  const found = await run("generate", "--model", at("run"), "--prompts", at("p.jsonl"), "--max-tokens", "12", ...more);
  const lines = found.stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Answer);
  return { ...found, lines };
}

test("one that is too long is told by its line, and the others are answered", async () => {
  const prompts = [{ prompt: "a", id: 1 }, { prompt: "rose ".repeat(200) }, { prompt: "is" }];
  const { lines, stderr, code } = await answers(prompts, "--batch", "1");
  expect(code).toBe(1);
  expect(lines.map(({ prompt }) => prompt)).toEqual(prompts.map(({ prompt }) => prompt));
  expect(lines[0]).toMatchObject({ id: 1, reason: "length" });
  expect(lines[1]).toEqual({
    prompt: prompts[1]!.prompt,
    error: expect.stringMatching(/^the prompt has 1000 tokens, and the model's context is \d+$/),
  });
  expect(stderr).toContain(`${at("p.jsonl")}:3: the prompt has 1000 tokens`);
  expect(stderr).toContain("error: 1 of 3 prompts could not be continued\n");
}, 20000);

test("each is answered alike in every batch and at every place; samples and seeds differ", async () => {
  const prompts = ["a ", "rose", "is a", "a rose", "s"].map((prompt) => ({ prompt }));
  const texts = ({ lines }: { lines: readonly Answer[] }) => lines.map(({ prompt, text }) => `${prompt}|${text}`);
  const whole = texts(await answers(prompts));
  expect(texts(await answers(prompts, "--batch", "2"))).toEqual(whole);
  expect(texts(await answers(prompts.toReversed(), "--batch", "3"))).toEqual(whole.toReversed());
  const twice = texts(await answers(prompts, "--samples", "2", "--batch", "1"));
  expect(twice.filter((_, i) => i % 2 === 0)).toEqual(whole);
  const next = texts(await answers(prompts, "--seed", "1338"));
  for (const text of next) expect(twice).not.toContain(text);
}, 20000);
