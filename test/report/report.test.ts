/** Reports of runs: what they say, as far as a run has come, and that what was written by others is only text. */
import { describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pageOf } from "../../src/report/page";
import { readRun } from "../../src/report/run";
import { chartsOf, thinned } from "../../src/report/series";
import { svgOf } from "../../src/report/svg";
import { terminalChart } from "../../src/report/terminal";
import { temporaryFolder } from "../support/folder";

const metrics = Array.from({ length: 20 }, (_, i) => ({
  step: 10 * (i + 1),
  loss: 5 / (i + 1),
  grad_norm: 1,
  ...(i % 10 === 9 && { validation_loss: 6 / (i + 1) }),
}));

interface Stage {
  readonly name: string;
  readonly kind?: string;
  readonly reads?: Readonly<Record<string, string>>;
  readonly state?: string;
  readonly rows?: readonly object[];
}

function run(folder: string, stages: readonly Stage[], { name = "demo" } = {}): string {
  const path = join(folder, "run");
  mkdirSync(path, { recursive: true });
  writeFileSync(
    join(path, "run.json"),
    JSON.stringify({ name, stage: stages.map(({ name, kind = "sft" }) => ({ name, kind })) }),
  );
  for (const { name, kind = "sft", reads = {}, state = "finished", rows } of stages) {
    if (state === "not begun") continue;
    const own = join(path, name);
    mkdirSync(own, { recursive: true });
    const parts = {
      kind: `${kind} 1`,
      "setting optim.lr": "0.01",
      "data 1: data/tales.txt": "abc",
      ...Object.fromEntries(Object.entries(reads).map(([key, of]) => [`reads ${key}: ${of}`, "hash"])),
    };
    const made = {
      program: "0.1.0",
      device: "a processor",
      began: "2026-01-01T10:00:00Z",
      ...(state === "finished" && { finished: "2026-01-01T10:01:30Z" }),
    };
    writeFileSync(join(own, "stage.json"), JSON.stringify({ state, key: "k", parts, made }));
    if (rows) writeFileSync(join(own, "metrics.jsonl"), rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  }
  return path;
}

describe("a run's report", () => {
  test("has its stages, what they read, their curves, figures and times", async () => {
    using folder = temporaryFolder();
    const path = run(folder.path, [
      { name: "pretrain", kind: "pretrain", rows: metrics },
      { name: "sft", reads: { from: "pretrain" }, rows: metrics },
      { name: "small", kind: "distill", reads: { from: "sft", teacher: "pretrain" }, rows: metrics },
    ]);
    const read = readRun(path);
    expect(read.notes).toEqual([]);
    expect(read.stages.map(({ reads }) => reads.map(({ name }) => name))).toEqual([
      [],
      ["pretrain"],
      ["sft", "pretrain"],
    ]);
    const page = await pageOf(read);
    expect(page).toContain("3 stages, 4m30s of work, on a processor");
    expect(page.match(/<svg/g)!.length).toBe(1 + 3 * 2);
    expect(page.match(/class="arrow"/g)).toHaveLength(3);
    expect(page).toContain("0.6000 (step 100)");
    expect(page).toContain("optim.lr = 0.01");
    expect(page).not.toContain("<script");
    expect(page).not.toMatch(/(src|href)="https?:/);
  });
  test("of a run that goes on shows what there is", async () => {
    using folder = temporaryFolder();
    const path = run(folder.path, [
      { name: "pretrain", state: "begun", rows: metrics.slice(0, 3) },
      { name: "sft", state: "not begun" },
    ]);
    writeFileSync(
      join(path, "pretrain", "metrics.jsonl"),
      '{"step":10,"loss":3}\n{"step":20,"loss":2}\n{"step":30,"lo',
    );
    const read = readRun(path);
    expect(read.stages.map(({ state }) => state)).toEqual(["begun", "not begun"]);
    expect(read.stages[0]!.points).toHaveLength(2);
    const page = await pageOf(read);
    expect(page).toContain("0 of 2 stages finished");
    expect(page).toContain("not finished");
  });
  test("says where there are no metrics, and where files are of another version or damaged", async () => {
    using folder = temporaryFolder();
    const path = run(folder.path, [{ name: "pretrain" }, { name: "sft", rows: metrics }]);
    writeFileSync(join(path, "pretrain", "checkpoints.json"), "{}");
    writeFileSync(join(path, "sft", "stage.json"), '{"state":');
    const read = readRun(path);
    expect(read.notes.join("\n")).toContain("pretrain has no metrics");
    expect(read.notes.join("\n")).toContain("stage.json cannot be read");
    writeFileSync(join(path, "run.json"), '{"stages":[]}');
    const other = readRun(path);
    expect(other.notes.join("\n")).toContain("run.json is of another version: name");
    expect(other.stages.map(({ name }) => name).sort()).toEqual(["pretrain", "sft"]);
    expect(await pageOf(other)).toContain("It has no metrics.");
  });
  test("what was written by a model or a user is only text", async () => {
    using folder = temporaryFolder();
    const nasty = '</script><img src=x onerror="alert(1)">&amp;\u202e';
    const path = run(folder.path, [{ name: "sft", rows: metrics }], { name: nasty });
    writeFileSync(
      join(path, "sft", "samples.jsonl"),
      [1, 2]
        .map((step) => `${JSON.stringify({ step, prompt: nasty, completion: `${nasty}${"x".repeat(2000)}` })}\n`)
        .join(""),
    );
    const page = await pageOf(readRun(path));
    expect(page).not.toContain("<img");
    expect(page).not.toContain("</script>");
    expect(page).toContain("&#60;img src=x onerror=&#34;alert(1)&#34;&#62;&#38;amp;");
    expect(page.length).toBeLessThan(120_000);
  });
  test.each([
    ["nowhere", "there is no run"],
    [".", "is no run"],
  ])("of %s is refused", (name, message) => {
    using folder = temporaryFolder();
    expect(() => readRun(join(folder.path, name))).toThrow(message);
  });
});

describe("curves", () => {
  test("of many points keep their peaks", () => {
    const points = Array.from(
      { length: 10_000 },
      (_, i) => [i, i === 7777 ? 100 : i === 1234 ? -50 : Math.sin(i)] as const,
    );
    const some = thinned(points, 400);
    expect(some.length).toBeLessThanOrEqual(400);
    expect(some.some(([x, y]) => x === 7777 && y === 100)).toBe(true);
    expect(some.some(([x, y]) => x === 1234 && y === -50)).toBe(true);
    expect(some.every(([x], i) => i === 0 || x > some[i - 1]![0])).toBe(true);
  });
  test("leave out what is not finite", () =>
    expect(
      thinned([
        [1, 1],
        [2, Number.NaN],
        [3, Infinity],
      ]),
    ).toEqual([[1, 1]]));
  test("of a policy have its reward against its divergence", () => {
    const points = [1, 2, 3].map((step) => ({ step, values: { reward: step, "objective/kl": 2 * step } }));
    const chart = chartsOf(points).find(({ title }) => title === "reward against divergence")!;
    expect(chart.series[0]!.points).toEqual([
      [2, 1],
      [4, 2],
      [6, 3],
    ]);
  });
  test("are drawn as SVG in the page's colours, the process ends, and two are the same", async () => {
    const chart = chartsOf(metrics.map(({ step, ...values }) => ({ step, values })))[0]!;
    const [a, b] = [await svgOf(chart, { width: 400, height: 200 }), await svgOf(chart, { width: 400, height: 200 })];
    expect(a).toBe(b);
    expect(a).toContain("currentColor");
    expect(a.match(/<path/g)!.length).toBeGreaterThan(2);
  });
});

test("a chart in the terminal", () => {
  const chart = {
    title: "loss",
    x: "step",
    series: [
      {
        name: "loss",
        points: [
          [0, 0],
          [10, 10],
        ] as const,
      },
    ],
  };
  expect(terminalChart(chart, { columns: 16, rows: 3, colour: false })).toEqual([
    "loss",
    "10 ┤        ⣀⠤⠒⠉",
    " 5 ┤    ⣀⠤⠒⠉",
    " 0 ┤⣀⠤⠒⠉",
    "   └────────────",
    "    0         10",
  ]);
  expect(terminalChart({ ...chart, series: [] }, { columns: 16, colour: false })).toEqual(["loss: no values"]);
});
