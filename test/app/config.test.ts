/** Configs: files, overrides and presets, and what is said where they are wrong. */
import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { checkConfig, readConfigFile } from "../../src/app/config-file";
import { embeddedSuites } from "../../src/app/embedded";
import { planOf } from "../../src/app/plan";
import type { Device } from "../../src/device/device";
import type { UserError } from "../../src/errors";
import { presets } from "../../src/model/architectures";
import { modelOf } from "../../src/model/model";
import { nextToken } from "../../src/model/next-token";
import type { Slab } from "../../src/model/slab";
import { expectFits, expectWeightsFit } from "../../src/stages/fits";
import { memoryOf } from "../../src/stages/memory";
import { modelConfig } from "../../src/stages/model-settings";
import { nearest } from "../../src/text/nearest";
import { silent } from "../support/console";
import { temporaryFolder } from "../support/folder";

const good = `name = "x"

[model]
preset = "micro"

[[stage]]
kind = "pretrain"
data = "data/tales.txt"
batch = { rows = 2, tokens = 16 }

[stage.optim]
steps = 5
lr = 1e-3
`;

async function read(text: string, overrides: string[] = []) {
  using folder = temporaryFolder();
  const path = join(folder.path, "c.toml");
  writeFileSync(path, text);
  try {
    return { config: await readConfigFile(path, overrides), message: "", hint: "" };
  } catch (error) {
    const { message, hint = "" } = error as UserError;
    return { config: null, message: message.replaceAll(folder.path, ""), hint };
  }
}

test("a config gets its defaults from the schema", async () => {
  const { config } = await read(good);
  expect(config!.stage[0]).toMatchObject({
    kind: "pretrain",
    validation: 0.1,
    batch: { rows: 2, tokens: 16, accumulate: 1 },
    optim: { steps: 5, lr: 1e-3, schedule: "cosine", weightDecay: 0.1, clip: 1 },
    evaluate: { every: 250, batches: 20, patience: 0 },
  });
});

test("every shipped config is valid and can be planned", async () => {
  for await (const path of new Bun.Glob("configs/*.toml").scan()) {
    if (embeddedSuites.includes(path)) continue;
    const config = await readConfigFile(path);
    // A model from the Hub would have to be fetched, and some data are the user's own.
    const own = config.model.from === undefined ? config : { ...config, model: { preset: "gpt2", epsilon: 1e-5 } };
    expect((await planOf(own, { directory: "nowhere", console: silent, choice: { keepGoing: true } })).text).toContain(
      "device memory",
    );
  }
});

describe("bad configs name the key and its line", () => {
  const cases: [string, string, RegExp][] = [
    [
      "a misspelt key",
      good.replace("steps = 5", "stepps = 5\nsteps = 5"),
      /^\/c\.toml:12: stage\[0\]\.optim\.stepps: unknown key; did you mean steps\?$/,
    ],
    [
      "a misspelt key in an inline table",
      good.replace("rows = 2", "row = 2"),
      /^\/c\.toml:9: stage\[0\]\.batch\.row: unknown key; did you mean rows\?$/,
    ],
    ["an unknown key", `colour = 1\n${good}`, /^\/c\.toml:1: colour: unknown key$/],
    [
      "a value out of range",
      good.replace("lr = 1e-3", "lr = -1"),
      /^\/c\.toml:13: stage\[0\]\.optim\.lr: Too small: expected number to be >0$/,
    ],
    ["a wrong type", good.replace('preset = "micro"', "preset = 3"), /^\/c\.toml:4: model\.preset: /],
    [
      "a missing key",
      good.replace("steps = 5\n", ""),
      /^\/c\.toml:11: stage\[0\]\.optim\.steps: expected number, received undefined$/,
    ],
    ["an unknown stage", good.replace('kind = "pretrain"', 'kind = "pretain"'), /^\/c\.toml:7: stage\[0\]\.kind: /],
    [
      "heads that do not share the width out",
      good.replace('preset = "micro"', "width = 100\nheads = 6"),
      /width 100 is not a multiple of 4 times 6 heads/,
    ],
    ["broken TOML", good.replace('name = "x"', 'name = "x'), /not valid TOML.*\/c\.toml:1: name = "x\)$/s],
  ];
  test.each(cases)("%s", async (_name, text, wanted) => {
    const { message } = await read(text);
    expect(message).toMatch(wanted);
  });
  test("a missing file", async () => {
    await expect(readConfigFile("/nowhere/x.toml")).rejects.toThrow(
      "the config /nowhere/x.toml cannot be read: there is no such file",
    );
  });
});

test("two stages of one name, which would share a folder, are refused", async () => {
  const second = good.slice(good.indexOf("[[stage]]"));
  const { message } = await read(`${good}\n${second}`);
  expect(message).toBe("/c.toml:15: stage[1].name: another stage is named pretrain too; give each its own name");
  expect((await read(`${good}\n${second}`, ["stage.1.name=more"])).config!.stage.length).toBe(2);
});

test.each(["tokenizer", "base"])("a stage is not named as a folder of every run: %s", (name) => {
  const stage = [{ kind: "pretrain", name, data: "x.txt", optim: { steps: 1 } }];
  expect(() => checkConfig({ name: "a", stage })).toThrow(
    `stage[0].name: every run has a folder of the name ${name}; choose another`,
  );
});

describe("--set", () => {
  test("overrides values by path, as TOML or as a bare word", async () => {
    const { config } = await read(good, [
      "stage.0.optim.lr=2e-2",
      "name=other",
      "model.preset=tiny",
      "stage.0.samples.prompts=['a', 'b']",
    ]);
    expect(config).toMatchObject({
      name: "other",
      model: { preset: "tiny" },
      stage: [{ optim: { lr: 0.02 }, samples: { prompts: ["a", "b"] } }],
    });
  });
  test.each([
    [
      "stage.0.optim.lrr=1",
      /^--set stage.0.optim.lrr=1: stage.0.optim has no key lrr$/,
      "did you mean stage.0.optim.lr?",
    ],
    ["name", /^--set name has no value$/, "write it as"],
    ["name.x=1", /^--set name.x=1: name is not a table$/, ""],
    ["stage.optim.lr=9", /stage is a list, and optim is no item of it$/, "did you mean stage.0.optim.lr?"],
    ["stage.-1.optim.lr=9", /stage is a list, and -1 is no item of it$/, "did you mean stage.0.optim.lr?"],
    ["stage.1.optim.lr=9", /stage is a list, and 1 is no item of it$/, "did you mean stage.0.optim.lr?"],
    ["stage.00.optim.lr=9", /stage is a list, and 00 is no item of it$/, ""],
    ["stage.length=0", /stage is a list, and length is no item of it$/, ""],
    ["stage.0.optim=9", /^--set stage.0.optim=9: expected object, received number$/, ""],
    ["stage.0.optim.lr=-1", /^--set stage.0.optim.lr=-1: Too small: expected number to be >0$/, ""],
    ["stage.0.optim.lr=.5", /^--set stage.0.optim.lr=.5: expected number, received string$/, ""],
    [
      "stage.0.lora.rank=4",
      /^--set stage.0.lora.rank=4: stage.0 \(pretrain\) has no key lora$/,
      "it has kind, name, from",
    ],
    ["optim.lr=1", /^--set optim.lr=1: a config has no key optim$/, "it has name, seed"],
    ["modle.layers=1", /a config has no key modle$/, "did you mean model?"],
    ["toString=1", /a config has no key toString$/, ""],
    ["constructor.x=1", /a config has no key constructor$/, ""],
    ["tokenizer.path=x", /tokenizer \(bpe\) has no key path$/, "it has kind, size"],
    ["tokenizer.kind=file", /^--set tokenizer.kind=file: tokenizer.path: /, ""],
    ["generate.tokens=5", /^--set generate.tokens=5: generate.prompts: expected array/, ""],
    ["stage.0.samples.prompts.0=x", /stage.0.samples.prompts is a list, and 0 is no item of it$/, "it has none"],
    ["seed=1\nname='y'", /^--set seed=1\nname='y': expected number, received string$/, ""],
  ])("refuses %s", async (override, wanted, hint) => {
    const { message, hint: given } = await read(good, [override]);
    expect(message).toMatch(wanted);
    expect(given).toContain(hint);
  });
  test("tells which stages there are", async () => {
    const stages = `${good}\n[[stage]]\nkind = "merge"\nmodels = ["pretrain"]\n`;
    expect((await read(stages, ["stage.optim.lr=9"])).hint).toBe("it has stage.0 is pretrain, stage.1 is merge");
    expect((await read(stages, ["stage.1.optim.lr=9"])).message).toBe(
      "--set stage.1.optim.lr=9: stage.1 (merge) has no key optim",
    );
  });
  test("lands on what is there by default, in any order", async () => {
    expect((await read(good, ["tokenizer.size=300"])).config!.tokenizer).toEqual({ kind: "bpe", size: 300 });
    expect((await read(good, ["tokenizer.path=t", "tokenizer.kind=file"])).config!.tokenizer).toEqual({
      kind: "file",
      path: "t",
    });
  });
  test("sets a key once", async () => {
    expect((await read(good, ["seed=1", "seed=2"])).message).toBe("--set seed=1: --set seed=2 sets the same key");
  });
  test("a tokenizer from a file has no size", async () => {
    const sized = good.replace("[model]", '[tokenizer]\nkind = "file"\npath = "t"\nsize = 300\n\n[model]');
    expect((await read(sized)).message).toBe("/c.toml:6: tokenizer.size: unknown key");
  });
});

test("numbers override a preset", () => {
  const config = modelConfig({ preset: "gpt2", layers: 3, epsilon: 1e-5 }, 50257);
  expect(config).toEqual({
    type: "gpt2",
    vocabulary: 50257,
    layers: 3,
    heads: 12,
    width: 768,
    context: 1024,
    epsilon: 1e-5,
  });
});

test("near words are found, far ones are not", () => {
  expect(nearest("stpes", ["steps", "lr"])).toBe("steps");
  expect(nearest("colour", ["steps", "lr"])).toBeUndefined();
});

test("memory of GPT-2 is known without a device: four slabs and the activations for training", () => {
  const model = modelOf({ ...presets.gpt2!, vocabulary: 50257, epsilon: 1e-5 });
  const plain = memoryOf(model, { rows: 1, tokens: 256, recompute: false });
  expect(plain.weightsBytes).toBeGreaterThanOrEqual(4 * model.parameters.count);
  expect(plain.weightsBytes).toBeLessThan(4.01 * model.parameters.count);
  expect(plain.trainingBytes).toBeGreaterThan(4 * plain.weightsBytes);
  expect(memoryOf(model, { rows: 1, tokens: 256, recompute: true }).trainingBytes).toBeLessThan(plain.trainingBytes);
  expect(plain.largestBytes).toBe(4 * 50257 * 768);
});

describe("a stage that does not fit the device", () => {
  const model = modelOf({ ...presets.tiny!, vocabulary: 4096, epsilon: 1e-5 });
  const holding = (bytes: number) =>
    ({ freeBytes: () => bytes, info: { name: "a device", kind: "cpu" } }) as unknown as Device;
  const weights = 4 * model.parameters.size;
  const batch = { rows: 64, tokens: 256, recompute: false };
  const graph = { ...nextToken(model, { rows: 64, length: 256 }), inputs: {}, constants: {} };
  test("is refused with the numbers and with what would fit", () => {
    const needed = memoryOf(model, batch).trainingBytes - weights;
    const error = (bytes: number) => {
      try {
        const stage = { trained: [{ weights: { parameters: model.parameters } as Slab }], frozen: [], graphs: [graph] };
        expect(expectFits(holding(bytes), stage, { name: "pretrain", model, batch })).toBe(needed + weights);
      } catch (error) {
        return error as Error & { hint: string };
      }
      return null;
    };
    expect(error(needed)).toBeNull();
    expect(error(needed - 1)!.message).toMatch(
      /^pretrain needs \S+ .iB of device memory, and a device \(cpu\) has \S+ .iB$/,
    );
    expect(error(needed - 1)!.hint).toMatch(/^recompute = true with batch = { rows = 64, tokens = 256 } needs/);
    expect(error(needed / 8)!.hint).toMatch(/^recompute = true with batch = { rows = \d+, tokens = 256 } needs/);
    expect(error(1000)!.hint).toMatch(/weights, gradients and moments alone need .*smaller model/);
  });
});

test("weights that do not fit are refused with what would", () => {
  const { config } = modelOf({ ...presets["gpt2-xl"]!, vocabulary: 50257, epsilon: 1e-5 });
  const holding = (bytes: number) =>
    ({ freeBytes: () => bytes, info: { name: "a device", kind: "cpu" } }) as unknown as Device;
  const refusal = (bytes: number, storage: "f32" | "bf16") => {
    try {
      expectWeightsFit(holding(bytes), config, modelOf(config, storage).parameters);
    } catch (error) {
      return error as Error & { hint: string };
    }
    return null;
  };
  expect(refusal(7e9, "f32")).toBeNull();
  expect(refusal(4e9, "f32")!.message).toBe(
    "the weights need 5.80 GiB of device memory, and a device (cpu) has 3.73 GiB",
  );
  expect(refusal(4e9, "f32")!.hint).toBe("--storage bf16 holds them in 2.90 GiB");
  expect(refusal(4e9, "bf16")).toBeNull();
  expect(refusal(1e9, "bf16")!.hint).toContain("a smaller model");
});

test("a config that goes on from a model may not have sizes of its own", async () => {
  const from = good.replace('preset = "micro"', 'from = "gpt2"');
  expect((await read(from)).config!.model.from).toBe("gpt2");
  expect((await read(from.replace("[model]", '[tokenizer]\nkind = "character"\n[model]\nlayers = 3'))).message).toBe(
    "model.from brings a model's own sizes and tokenizer, and the config has model.layers, tokenizer too",
  );
});
