/** Adapters that are not what their config says, or for another model: refused with both numbers, or what is not done by its name. */

import { describe, expect, test } from "bun:test";
import { cpSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { UserError } from "../../src/errors";
import { openAdapter } from "../../src/formats/peft";
import { readAdapterConfig } from "../../src/formats/peft-config";
import { writeSafetensors } from "../../src/formats/safetensors";
import { modelOf } from "../../src/model/model";
import { device } from "../support/device";
import { temporaryFolder } from "../support/folder";

const config = { type: "gpt2", vocabulary: 37, context: 12, layers: 2, heads: 2, width: 16, epsilon: 1e-5 };

/** PEFT's adapter of rank 4 for both c_attn, with its config changed, opened for a model. */
function opened(
  change: Readonly<Record<string, unknown>>,
  { model = {}, files = () => {} }: { model?: object; files?: (folder: string) => void } = {},
) {
  using folder = temporaryFolder();
  cpSync("test/golden/peft/lora", folder.path, { recursive: true });
  const path = join(folder.path, "adapter_config.json");
  writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, "utf8")), ...change }));
  files(folder.path);
  using adapter = openAdapter(folder.path, modelOf({ ...config, ...model }));
  return [...adapter.adapter.ranks];
}

function refusal(...given: Parameters<typeof opened>): string {
  try {
    return `it was opened: ${opened(...given)}`;
  } catch (error) {
    expect(error).toBeInstanceOf(UserError);
    const { message, hint = "" } = error as UserError;
    return `${message}\n${hint}`;
  }
}

describe("an adapter of another size", () => {
  test.each([
    [
      "deeper",
      { layers: 1 },
      "adapts h.1.attn.c_attn, which the model does not have: it is for 2 layers, and the model has 1",
    ],
    ["less deep", { layers: 4 }, "has no matrices for h.2.attn.c_attn: it is for 2 layers, and the model has 4"],
    ["wider", { width: 8 }, "lora_A.weight has shape [4,16], expected [4,8]"],
  ])("%s", (_what, model, message) => {
    expect(refusal({}, { model })).toContain(message);
  });
  test.each([
    [{ r: 8 }, "the matrices of h.0.attn.c_attn have rank 4, and adapter_config.json says 8"],
    [
      { rank_pattern: { "h.1.attn.c_attn": 2 } },
      "the matrices of h.1.attn.c_attn have rank 4, and adapter_config.json says 2",
    ],
    [{ r: 8, rank_pattern: { c_attn: 4 } }, "it was opened: h.0.attn.c_attn,4,h.1.attn.c_attn,4"],
    [{ r: 0 }, "adapter_config.json: r: Too small: expected number to be >=1"],
    [{ r: 2.5 }, "adapter_config.json: r: expected int"],
    [{ r: "4" }, "adapter_config.json: r: expected number"],
    [{ rank_pattern: { "(": 4 } }, "is no expression that can be read"],
  ])("in its matrices: %j", (change, message) => {
    expect(refusal(change)).toContain(message);
  });
});

describe("target_modules", () => {
  test.each([
    [["c_attn", "c_fc"], "has no matrices for c_fc, which target_modules in adapter_config.json names"],
    [["q_proj", "c_attn"], "has no matrices for q_proj, which"],
    [["h.0.attn.c_attn"], "adapts h.1.attn.c_attn, which target_modules in adapter_config.json does not name"],
    ["all-linear", "has no matrices for h.0.attn.c_proj\n"],
    [".*c_(attn|fc)", "has no matrices for h.0.mlp.c_fc\n"],
    [5, "adapter_config.json: target_modules: "],
    [["h.0.attn.c_attn", "transformer.h.1.attn.c_attn"], "it was opened"],
    [".*\\.c_attn", "it was opened"],
    [null, "it was opened"],
  ])("%j", (target_modules, message) => {
    expect(refusal({ target_modules })).toContain(message);
  });
  test("within the layers that are chosen, and without those that are left out", () => {
    expect(refusal({ layers_to_transform: [0, 1] }, { model: { layers: 3 } })).toContain("it was opened");
    expect(refusal({ layers_to_transform: 1 })).toContain("adapts h.0.attn.c_attn, which target_modules");
    expect(refusal({ target_modules: ["c_attn"], exclude_modules: ["h.1.attn.c_attn"] })).toContain("adapts h.1");
    expect(refusal({ exclude_modules: ["h.2.attn.c_attn"] }, { model: { layers: 3 } })).toContain("it was opened");
  });
});

describe("an expression of Python's", () => {
  test.each([["(?P<a>.*)\\.(?P<b>c_attn)"], ["(?i).*C_ATTN"], [".*c_attn\\Z"], ["\\Atransformer\\..*c_attn"]])(
    "%j is read",
    (target_modules) => {
      expect(refusal({ target_modules })).toContain("it was opened: h.0.attn.c_attn,4,h.1.attn.c_attn,4");
      expect(refusal({ target_modules }, { model: { layers: 3 } })).toContain("has no matrices for h.2.attn.c_attn");
    },
  );
  test("that begins with the whole name says a rank", () => {
    const pattern = "^transformer\\.h\\.1\\.attn\\.c_attn$";
    expect(refusal({ r: 8, rank_pattern: { [pattern]: 4 } })).toContain("the matrices of h.0.attn.c_attn have rank 4");
    expect(refusal({ rank_pattern: { [pattern]: 2 } })).toContain("the matrices of h.1.attn.c_attn have rank 4");
  });
  test.each([
    "(?:(?:.*)+)+\\d{9}",
    "((a|[^b])+)+$x",
    ".*.*.*.*.*.*.*.*.*.*x",
    "(.|.)".repeat(30),
    ".?".repeat(60),
    "(".repeat(1e5),
  ])("%.20s, which may be searched for years, is left open or refused at once", (pattern) => {
    const start = performance.now();
    for (const key of ["target_modules", "exclude_modules"])
      expect(refusal({ target_modules: null, [key]: pattern })).toMatch(/it was opened|no expression that can be read/);
    refusal({ rank_pattern: { [pattern]: 4 } });
    expect(performance.now() - start).toBeLessThan(5000);
  });
});

test("what target_modules names may be left out again by exclude_modules", () => {
  const target_modules = ["c_attn", "transformer.h.0.mlp.c_fc", "transformer.h.1.mlp.c_fc"];
  expect(refusal({ target_modules, exclude_modules: ["c_fc"] })).toContain("it was opened");
  expect(refusal({ target_modules, exclude_modules: ["h.1.mlp.c_fc"] })).toContain(
    "no matrices for transformer.h.0.mlp",
  );
});

describe("what is not done says so in words", () => {
  test("embeddings", () => {
    const files = (folder: string) =>
      writeSafetensors(
        join(folder, "adapter_model.safetensors"),
        ["attn.c_attn.lora_A.weight", "wte.lora_embedding_A"].map((name) => ({
          name: `base_model.model.transformer.${name.startsWith("wte") ? "" : "h.0."}${name}`,
          shape: [4, 16],
          values: () => new Float32Array(64),
        })),
      );
    expect(refusal({ target_modules: ["c_attn", "wte"] }, { files })).toContain(
      "adapts an embedding, which is not supported: it has wte.lora_embedding_A",
    );
  });
  test.each([
    ["modules_to_save", ["wte"]],
    ["bias", "lora_only"],
    ["alpha_pattern", { c_attn: 3 }],
    ["layer_replication", [[0, 1]]],
    ["trainable_token_indices", [1]],
    ["init_lora_weights", "pissa"],
    ["lora_bias", true],
    ["target_parameters", ["x"]],
    ["arrow_config", { top_k: 1 }],
    ["revision", "v2"],
  ])("%s", (key, value) => {
    expect(refusal({ [key]: value })).toContain(`adapter_config.json: ${key} is not supported: it is `);
  });
  test("another kind of adapter", () => {
    expect(refusal({ peft_type: "IA3" })).toContain('peft_type "IA3" is not supported, only LORA is');
    expect(refusal({ peft_type: undefined })).toContain("adapter_config.json: peft_type: expected string");
  });
  test.each([1e308, 0, -16, "16", null])("lora_alpha %p", (lora_alpha) => {
    expect(refusal({ lora_alpha })).toContain("adapter_config.json: lora_alpha: ");
  });
  test.each([["null"], ["[]"], ["5"], ["{"], ["[".repeat(3e5)]])("a config that is %.20s", (text) => {
    const files = (folder: string) => writeFileSync(join(folder, "adapter_config.json"), text);
    expect(refusal({}, { files })).toMatch(/adapter_config\.json(: expected object| is not valid JSON)/);
  });
  test("matrices in a .bin file, under the adapter's own name, of rank 0, or no matrices", () => {
    const path = (folder: string) => join(folder, "adapter_model.safetensors");
    const pickled = (folder: string) => renameSync(path(folder), join(folder, "adapter_model.bin"));
    expect(refusal({}, { files: pickled })).toMatch(/only adapter_model\.bin.*\n.*safe_serialization=True/);
    const matrix = (name: string, shape: number[]) => (folder: string) =>
      writeSafetensors(path(folder), [
        {
          name: `base_model.model.transformer.h.0.attn.c_attn.${name}`,
          shape,
          values: () => new Float32Array(shape.reduce((a, b) => a * b, 1)),
        },
      ]);
    expect(refusal({}, { files: matrix("lora_A.default.weight", [4, 16]) })).toMatch(
      /has h\.0\.attn\.c_attn\.lora_A\.default\.weight, with the adapter's name in it\n.*save_pretrained/,
    );
    const target_modules = ["h.0.attn.c_attn"];
    for (const shape of [[], [64], [0, 16], [2, 2, 16]])
      expect(refusal({ target_modules }, { files: matrix("lora_A.weight", shape) })).toContain(
        `h.0.attn.c_attn.lora_A.weight has shape [${shape}], expected [rank, inputs]`,
      );
    expect(refusal({}, { files: matrix("lora_B.weight", [48, 4]) })).toContain("has no lora_A matrices");
  });
});

test.each([Number.NaN, Number.NEGATIVE_INFINITY, 3e38])("matrices with %p in them are refused by name", (value) => {
  using folder = temporaryFolder();
  cpSync("test/golden/peft/lora", folder.path, { recursive: true });
  const path = join(folder.path, "adapter_model.safetensors");
  const file = readFileSync(path);
  file.writeFloatLE(value, file.length - 4);
  writeFileSync(path, file);
  using adapter = openAdapter(folder.path, modelOf(config));
  const read = () => adapter.adapter.parameters.list.map(({ name }) => adapter.values(name));
  expect(read).toThrow(/lora_\S+ has (NaN|-Infinity|3\.0\d*e\+38|2\.9\d*e\+38) at element \d+$/);
  expect(() => adapter.load(device("cpu"))).toThrow(UserError);
});

test("what PEFT leaves empty changes nothing", () => {
  expect(opened({ alpha_pattern: {}, modules_to_save: [], revision: "main", use_bdlora: null })).toHaveLength(2);
  expect(readAdapterConfig("test/golden/peft/dora").settings).toEqual({
    rank: 2,
    alpha: 4,
    dropout: 0,
    rslora: false,
    dora: true,
  });
});
