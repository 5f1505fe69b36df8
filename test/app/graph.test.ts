/** Stages as a graph: names, what makes a stage run again, what is kept and brought back, and a diamond that is cut off. */
import { describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { checkConfig, readConfigFile } from "../../src/app/config-file";
import { locateParts } from "../../src/app/locate";
import { modelDirectory } from "../../src/app/model";
import { type Choice, runPipeline } from "../../src/app/pipeline";
import { planOf } from "../../src/app/plan";
import type { UserError } from "../../src/errors";
import { openModelFiles } from "../../src/formats/checkpoint";
import { silent } from "../support/console";
import { device } from "../support/device";
import { diamond, records } from "../support/diamond";
import { temporaryFolder } from "../support/folder";

interface Sitting {
  readonly change?: Record<string, object>;
  readonly choice?: Choice;
  /** Ctrl-C as soon as a note has this in it. */
  readonly stopAt?: string;
  readonly config?: ReturnType<typeof diamond>;
}

async function run(folder: string, { change = {}, choice = {}, stopAt, config }: Sitting = {}) {
  const notes: string[] = [];
  const controller = new AbortController();
  const note = (text: string) => {
    notes.push(text);
    if (stopAt && text.includes(stopAt)) controller.abort();
  };
  const directory = join(folder, "run");
  const outcome = await runPipeline(config ?? diamond(folder, change), {
    device: device("cpu"),
    directory,
    console: { ...silent, note },
    signal: controller.signal,
    write() {},
    choice,
  });
  return { outcome, notes };
}

const merged = (folder: string) => readFileSync(join(folder, "run", "merge", "model", "model.safetensors"));
const ran = (notes: readonly string[]) =>
  notes.flatMap((note) => /^(\w+): (finished after|the mean of)/.exec(note)?.[1] ?? []);

describe("a diamond of stages", () => {
  test("runs in order, and its result is the mean of both branches", async () => {
    using folder = temporaryFolder();
    const { outcome, notes } = await run(folder.path);
    expect(outcome).toBe("finished");
    expect(ran(notes)).toEqual(["pretrain", "a", "b", "merge"]);
    const directory = join(folder.path, "run");
    expect(modelDirectory(directory)).toBe(join(directory, "merge", "model"));
    using a = await openModelFiles(modelDirectory(join(directory, "a")));
    using b = await openModelFiles(join(directory, "b", "merged"));
    using mean = await openModelFiles(join(directory, "merge", "model"));
    for (const parameter of mean.model.parameters.list) {
      const [one, two] = [a, b].map((files) =>
        files.values(files.model.parameters.list.find(({ name }) => name === parameter.name)!),
      );
      expect(mean.values(parameter)).toEqual(Float32Array.from(one!, (v, i) => (v + two![i]!) / 2));
    }
    // Nothing is left to do.
    expect(ran((await run(folder.path)).notes)).toEqual([]);
  });

  test.each(["pretrain  step 4", "a  step 4", "b  step 4"])(
    "interrupted at %s it goes on to the same result",
    async (stopAt) => {
      using whole = temporaryFolder();
      await run(whole.path);
      using broken = temporaryFolder();
      expect((await run(broken.path, { stopAt })).outcome).toBe("interrupted");
      expect((await run(broken.path)).outcome).toBe("finished");
      expect(merged(broken.path)).toEqual(merged(whole.path));
    },
  );

  test("what changes in one branch runs that branch and what stands on it again; changed back, its result comes back", async () => {
    using folder = temporaryFolder();
    await run(folder.path);
    const directory = join(folder.path, "run");
    const before = merged(folder.path);
    const age = (stage: string) =>
      statSync(
        join(modelDirectory(join(directory, stage)), stage === "b" ? "adapter_model.safetensors" : "model.safetensors"),
      ).mtimeMs;
    const ages = [age("pretrain"), age("a"), age("b")];
    const { notes } = await run(folder.path, { change: { b: { optim: { steps: 6, lr: 5e-3 } } } });
    expect(ran(notes)).toEqual(["b", "merge"]);
    expect(notes.find((note) => note.startsWith("b: runs again"))).toContain("optim.lr was 0.001 and is 0.005");
    expect(notes.find((note) => note.startsWith("merge: runs again"))).toContain("b has another result");
    expect([age("pretrain"), age("a")]).toEqual(ages.slice(0, 2));
    expect(merged(folder.path)).not.toEqual(before);
    expect(
      readdirSync(directory)
        .filter((name) => name.includes("@"))
        .map((name) => name.split("@")[0]!)
        .sort(),
    ).toEqual(["b", "merge"]);
    const back = await run(folder.path);
    expect(ran(back.notes)).toEqual([]);
    expect(merged(folder.path)).toEqual(before);
    expect(age("b")).toBe(ages[2]!);
  });

  test("what changes no result runs nothing again: times, samples, logs, names of folders, words in the config", async () => {
    using folder = temporaryFolder();
    await run(folder.path);
    const later = new Date(Date.now() + 60_000);
    const config = diamond(folder.path, {
      a: { logEvery: 3, samples: { every: 2, prompts: ["x"] }, save: { every: 3, keep: 1 } },
    });
    for (const name of ["text.txt", "a.jsonl"]) utimesSync(join(folder.path, name), later, later);
    expect(ran((await run(folder.path, { config })).notes)).toEqual([]);
  });

  test("changed data run again what reads them; an equal result stops it there", async () => {
    using folder = temporaryFolder();
    await run(folder.path);
    const config = diamond(folder.path);
    writeFileSync(join(folder.path, "b.jsonl"), records(32));
    const { notes } = await run(folder.path, { config });
    expect(ran(notes)).toEqual(["b", "merge"]);
    expect(notes.find((note) => note.startsWith("b: runs again"))).toContain("b.jsonl has changed");
    // The stage is made anew and comes out the same: nothing that stands on it is stale.
    rmSync(join(folder.path, "run", "pretrain"), { recursive: true });
    expect(ran((await run(folder.path, { config })).notes)).toEqual(["pretrain"]);
  });

  test("--only, --from, --fresh and --keep-going choose", async () => {
    using folder = temporaryFolder();
    const early = run(folder.path, { choice: { only: ["merge"] } });
    await expect(early).rejects.toThrow("merge stands on pretrain, which is not finished");
    await early.catch(() => {});
    expect(ran((await run(folder.path, { choice: { only: ["pretrain", "a"] } })).notes)).toEqual(["pretrain", "a"]);
    expect(ran((await run(folder.path, { choice: { from: "b" } })).notes)).toEqual(["b", "merge"]);
    const fresh = await run(folder.path, { choice: { only: ["a"], fresh: true } });
    expect(ran(fresh.notes)).toEqual(["a"]);
    await expect(run(folder.path, { choice: { from: "c" } })).rejects.toThrow("there is no stage c");
    rmSync(join(folder.path, "run"), { recursive: true });
    const broken = diamond(folder.path, { a: { template: "nowhere.jinja" } });
    const going = run(folder.path, { config: broken, choice: { keepGoing: true } });
    expect(await going.catch((error: UserError) => error.message)).toBe("a, merge failed or could not be run");
    expect(existsSync(join(folder.path, "run", "b", "checkpoints.json"))).toBe(true);
    await expect(run(folder.path, { config: broken })).rejects.toThrow("there is no chat template nowhere.jinja");
    await Bun.sleep(0);
  });

  test("--plan tells each stage's state, and writes nothing", async () => {
    using folder = temporaryFolder();
    const directory = join(folder.path, "run");
    const plan = async (change = {}, choice = {}) =>
      planOf(diamond(folder.path, change), { directory, console: silent, choice });
    const states = ({ text }: { readonly text: string }) =>
      text.split("\n").flatMap((line) => /^stage \d+: (.*)$/.exec(line)?.[1] ?? []);
    expect(states(await plan())).toEqual([
      "pretrain (pretrain) <- new: to run",
      "a (sft) <- pretrain: to run after pretrain",
      "b (sft) <- pretrain: to run after pretrain",
      "merge (merge) <- a, b: to run after a",
    ]);
    expect((await plan()).unready).toEqual([]);
    expect((await plan({}, { only: ["a", "merge"] })).unready).toEqual(["a", "merge"]);
    expect(existsSync(directory)).toBe(false);
    await run(folder.path, { stopAt: "b  step 4" });
    expect(states(await plan({ a: { optim: { steps: 6, lr: 2e-3 } } }))).toEqual([
      "pretrain (pretrain) <- new: finished",
      "a (sft) <- pretrain: to run again because optim.lr was 0.001 and is 0.002",
      "b (sft) <- pretrain: to go on after step 4",
      "merge (merge) <- a, b: to run after a",
    ]);
  });

  test("a run made before there were stage files is taken on, and not run again", async () => {
    using folder = temporaryFolder();
    await run(folder.path);
    const directory = join(folder.path, "run");
    for (const name of ["pretrain", "a", "b", "tokenizer"]) rmSync(join(directory, name, "stage.json"));
    expect(ran((await run(folder.path)).notes)).toEqual([]);
    for (const name of ["pretrain", "a", "b", "tokenizer"]) rmSync(join(directory, name, "stage.json"));
    const { notes } = await run(folder.path, { change: { a: { optim: { steps: 5, lr: 1e-3 } } } });
    expect(ran(notes)).toEqual(["a", "merge"]);
    expect(notes.find((note) => note.startsWith("a: runs again"))).toContain("optim.steps was 6 and is 5");
  });
});

describe("an adapter in the middle of a graph", () => {
  /** pretrain, an adapter, and what goes on from that merged. */
  const chain = (folder: string, lr = 3e-3) => {
    const { stage, ...rest } = diamond(folder, { pretrain: { optim: { steps: 8, lr } } });
    const [pretrain, , b] = stage;
    const child = { ...b!, name: "child", from: "b" };
    return checkConfig({ ...rest, generate: undefined, stage: [pretrain, b, child] });
  };
  const weights = (folder: string, stage: string) => {
    const directory = modelDirectory(join(folder, "run", stage));
    const name = stage === "pretrain" ? "model" : "adapter_model";
    return readFileSync(join(directory, `${name}.safetensors`));
  };

  test("is not gone on from while what it stands on has changed", async () => {
    using folder = temporaryFolder();
    await run(folder.path, { config: chain(folder.path) });
    const before = weights(folder.path, "child");
    const changed = chain(folder.path, 9e-3);
    await run(folder.path, { config: changed, choice: { only: ["pretrain"] } });
    const early = run(folder.path, { config: changed, choice: { only: ["child"] } });
    await expect(early).rejects.toThrow("child stands on b, which has to run again: pretrain has another result");
    await early.catch(() => {});
    await run(folder.path, { config: changed });
    expect(weights(folder.path, "child")).not.toEqual(before);
    expect(ran((await run(folder.path, { config: chain(folder.path) })).notes)).toEqual([]);
    expect(weights(folder.path, "child")).toEqual(before);
  });

  test("finds its base where that was set aside, and takes no other for it", async () => {
    using folder = temporaryFolder();
    await run(folder.path, { config: chain(folder.path) });
    const directory = join(folder.path, "run");
    const base = join(directory, "pretrain", "step-000008");
    const adapter = modelDirectory(join(directory, "b"));
    expect((await locateParts(adapter, silent)).base).toBe(base);
    await run(folder.path, { config: chain(folder.path, 9e-3), choice: { only: ["pretrain"] } });
    const { base: kept } = await locateParts(adapter, silent);
    expect(kept).toMatch(/pretrain@\w{8}\/step-000008$/);
    rmSync(join(kept, ".."), { recursive: true });
    await expect(locateParts(adapter, silent)).rejects.toThrow(
      `was trained on other weights than those that are in ${base} now`,
    );
    await Bun.sleep(0);
  });

  test("made anew is merged again for those that stand on it", async () => {
    using folder = temporaryFolder();
    const config = chain(folder.path);
    await run(folder.path, { config });
    await run(folder.path, { config, choice: { only: ["b"], fresh: true } });
    expect(ran((await run(folder.path, { config })).notes)).toEqual([]);
    const { base } = await locateParts(join(folder.path, "run"), silent);
    expect(base).toBe(join(folder.path, "run", "b", "merged"));
  });
});

describe("what was not made by a run", () => {
  test.each(["tokenizer", "pretrain"])("a folder %s is not removed", async (name) => {
    using folder = temporaryFolder();
    const own = join(folder.path, "run", name);
    mkdirSync(own, { recursive: true });
    writeFileSync(join(own, "notes.txt"), "mine");
    const going = run(folder.path, { choice: { only: ["pretrain"], fresh: true } });
    await expect(going).rejects.toThrow(`${own} is there, and`);
    await going.catch(() => {});
    expect(readFileSync(join(own, "notes.txt"), "utf8")).toBe("mine");
  });
});

test("models that read text by different tokenizers have no mean", async () => {
  using folder = temporaryFolder();
  using other = temporaryFolder();
  const alone = (path: string) =>
    checkConfig({ ...diamond(path), generate: undefined, stage: [diamond(path).stage[0]] });
  await run(folder.path, { config: alone(folder.path) });
  const config = alone(other.path);
  writeFileSync(
    join(other.path, "text.txt"),
    "what is it? IT is a number 0123456! ".repeat(60).replaceAll("?", "").replaceAll("b", ""),
  );
  await run(other.path, { config });
  const both = checkConfig({
    ...config,
    generate: undefined,
    stage: [config.stage[0], { kind: "merge", models: ["pretrain", join(folder.path, "run")] }],
  });
  const merged = run(other.path, { config: both });
  await expect(merged).rejects.toThrow(/have different tokenizers|are not of one shape/);
  await merged.catch(() => {});
});

describe("names in a config", () => {
  const text = (stages: string, top = "") => `${top}
[[stage]]
kind = "pretrain"
data = "t.txt"
optim = { steps = 5 }

${stages}`;
  const sft = (more: string) => `[[stage]]\nkind = "sft"\ndata = "d.jsonl"\n${more}\n`;
  const cases: [string, string, RegExp][] = [
    [
      "a later stage",
      text(sft('from = "x"') + sft('name = "x"')),
      /c\.toml:10: stage\[1\]\.from: stage sft names x, which comes later: move it up/,
    ],
    [
      "an unknown one",
      text(sft('from = "pretrian"')),
      /c\.toml:10: stage\[1\]\.from: pretrian is no earlier stage.*did you mean pretrain\?/,
    ],
    ["itself", text(sft('from = "sft"')), /stage sft names itself/],
    [
      "two of one name",
      text(sft('name = "pretrain"')),
      /c\.toml:10: stage\[1\]\.name: another stage is named pretrain too/,
    ],
    ["a reserved folder", text(sft('name = "lock"')), /every run has a folder of the name lock/],
    [
      "a result that is none",
      text("", 'result = "best"'),
      /c\.toml:1: result: there is no stage best; there are pretrain/,
    ],
    [
      "sizes for a model that is not new",
      text(sft("[stage.model]\nlayers = 1")),
      /only a stage with from = "new" has a model of its own/,
    ],
    [
      "weights of a merge for other models",
      text('[[stage]]\nkind = "merge"\nmodels = ["pretrain"]\nweights = [1, 2]\n'),
      /c\.toml:10: stage\[1\]\.weights: there are 2 for 1 models/,
    ],
    [
      "weights of a merge that cancel each other",
      text('[[stage]]\nkind = "merge"\nmodels = ["pretrain", "pretrain"]\nweights = [1, -1]\n'),
      /stage\[1\]\.weights: they cancel each other/,
    ],
    [
      "heads of a stage's own model that do not share the width out",
      text(sft('from = "new"\n[stage.model]\nwidth = 100\nheads = 6')),
      /sft\.model: width 100 is not a multiple of 4 times 6 heads/,
    ],
    [
      "a merge of a later stage",
      text('[[stage]]\nkind = "merge"\nmodels = ["pretrain", "x"]\n'),
      /models\[1\]: x is no earlier stage/,
    ],
  ];
  test.each(cases)("%s is refused with its line", async (_name, config, message) => {
    using folder = temporaryFolder();
    const path = join(folder.path, "c.toml");
    writeFileSync(path, config);
    const error = await readConfigFile(path).catch((error: UserError) => error);
    expect((error as UserError).message).toMatch(message);
    expect((error as UserError).exitCode).toBe(2);
  });
  test("a run that goes on from a model may have sizes and a tokenizer for a stage that begins anew", () => {
    const stage = { kind: "pretrain", data: "t.txt", optim: { steps: 5 } };
    const config = { model: { from: "gpt2", layers: 2 }, tokenizer: { kind: "character" } };
    const fresh = { ...stage, name: "fresh", from: "new" };
    expect(checkConfig({ ...config, stage: [stage, fresh] }).tokenizer.kind).toBe("character");
    expect(() => checkConfig({ ...config, stage: [stage] })).toThrow("brings a model's own sizes and tokenizer");
  });
  test("a stage may begin with a model of its own size", async () => {
    using folder = temporaryFolder();
    const base = diamond(folder.path);
    const [pretrain] = base.stage;
    mkdirSync(join(folder.path, "run"));
    const own = {
      ...pretrain!,
      name: "wide",
      from: "new",
      model: { preset: "micro", layers: 1, heads: 1, width: 32, context: 64, epsilon: 1e-5 },
    };
    const config = checkConfig({ ...base, generate: undefined, stage: [pretrain, own], result: "pretrain" });
    await run(folder.path, { config });
    const directory = join(folder.path, "run");
    const width = async (path: string) => {
      using files = await openModelFiles(modelDirectory(path));
      return files.model.config.width;
    };
    expect(await width(join(directory, "wide"))).toBe(32);
    expect(await width(directory)).toBe(16);
  });
});
