/** A reward model that a program opens gives what `dawngrad score` gives. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { DawngradError, openReward, type RewardModel, type Scored } from "dawngrad";
import { temporaryFolder } from "../support/folder";
import { writeToy } from "../support/talking";

const folder = temporaryFolder();
const at = (name: string) => join(folder.path, name);
let reward: RewardModel;

beforeAll(async () => {
  await writeToy(at("scorer"), { scalar: true });
  await writeToy(at("toy"));
  const config = JSON.parse(await Bun.file(at("scorer/config.json")).text());
  writeFileSync(at("scorer/config.json"), JSON.stringify({ ...config, score_gain: 2, score_bias: 3 }));
  reward = await openReward(at("scorer"), { device: "cpu" });
});
afterAll(() => {
  reward[Symbol.dispose]();
  folder[Symbol.dispose]();
});

const messages = [
  { role: "user", content: "Who is Pip?" },
  { role: "assistant", content: "A mouse." },
] as const;
const kinds: readonly (readonly [string, object, Scored])[] = [
  ["texts", { text: "Pip is a mouse." }, "Pip is a mouse."],
  ["completions", { prompt: "Ada is", completion: " a crow." }, { prompt: "Ada is", completion: " a crow." }],
  ["conversations", { messages }, { messages }],
];

test.each(kinds)("%s score as the command line says, normalised or raw", async (_, record, item) => {
  writeFileSync(at("data.jsonl"), `${JSON.stringify(record)}\n`);
  for (const raw of [false, true]) {
    const flags = raw ? ["--raw"] : [];
    const words = ["score", "--model", at("scorer"), "--data", at("data.jsonl"), "--out", at("out.jsonl"), ...flags];
    const { exitCode, stderr } = Bun.spawnSync([process.execPath, "src/main.ts", ...words, "--device", "cpu"]);
    if (exitCode !== 0) throw new Error(stderr.toString());
    const { score } = JSON.parse(await Bun.file(at("out.jsonl")).text());
    expect(await reward.score([item], { raw })).toEqual([score]);
  }
});

test("many score in their order, whatever runs beside them", async () => {
  const items = kinds.map(([, , item]) => item);
  const alone = await Promise.all(items.map(async (item) => (await reward.score([item]))[0]!));
  expect(new Set(alone).size).toBe(3);
  const raw = await reward.score(items, { raw: true });
  for (const [i, score] of alone.entries()) expect(score).toBeCloseTo(2 * raw[i]! + 3, 9);
  expect(await reward.score(items)).toEqual(alone);
  expect(await reward.score(items, { batch: 2 })).toEqual(alone);
  expect(await reward.score([])).toEqual([]);
});

test("what cannot be scored is refused in a sentence", async () => {
  const sentence = (work: Promise<unknown>) =>
    work.then(
      () => "nothing was thrown",
      (error: unknown) => (error instanceof DawngradError ? error.message : `a bug: ${error}`),
    );
  expect(await sentence(openReward(at("toy"), { device: "cpu" }))).toBe(
    `${at("toy")} has no scalar head: it is no reward model`,
  );
  expect(await sentence(reward.score(["a", "a".repeat(300)]))).toStartWith("item 2 has 301 tokens");
  expect(await sentence(reward.score(["a"], { bach: 1 } as object))).toBe("bach: unknown key; did you mean batch?");
  const closed = await openReward(at("scorer"), { device: "cpu" });
  closed[Symbol.dispose]();
  expect(await sentence(closed.score(["a"]))).toBe(`the model ${at("scorer")} is closed`);
});
