/** Every WGSL file compiles as it stands, keeps the house order of bindings, and avoids what drivers get wrong. */
import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { paramsOf } from "../src/device/params";
import { specialize } from "../src/device/webgpu/pipelines";
import { device } from "./support/device";

const names = readdirSync("kernels").filter((name) => name.endsWith(".wgsl"));

/** Forms of other kernels for adapters of one kind. */
const ofOneKind = [
  "attention-tile.wgsl",
  "columns.wgsl",
  "matmul-subgroup.wgsl",
  "matmul-sum.wgsl",
  "matmul-tile.wgsl",
  "matvec.wgsl",
];

describe.each(names)("%s", (name) => {
  const source = readFileSync(`kernels/${name}`, "utf8");
  const entries = [...source.matchAll(/@compute @workgroup_size\([^)]*\)\s*fn (\w+)/g)].map(([, entry]) => entry!);

  test("compiles as it stands, every entry", () => {
    expect(entries.length).toBeGreaterThan(0);
    for (const entry of entries) device("adapter").compile({ name, source, entry });
  });
  if (!ofOneKind.includes(name)) {
    test("has a twin on the CPU device, every entry", () => {
      const shared = entries.filter((entry) => entry !== "backward_plus"); // is for GPUs
      for (const entry of shared) device("cpu").compile({ name: name.replace(".wgsl", ""), source, entry });
    });
  }
  test("begins with its formula, then has params at 0 and the output at 1", () => {
    expect(source).toMatch(/^(enable \w+;\n\n)?\/\/ /);
    expect(source).toMatch(/@group\(0\) @binding\(0\) var<uniform> params: Params;/);
    expect(source).toMatch(/@group\(0\) @binding\(1\) var<storage, read_write>/);
    expect(paramsOf(source).length).toBe(
      source
        .match(/struct Params \{([^}]*)\}/)![1]!
        .trim()
        .split("\n").length,
    );
  });
  test("is within 120 columns, as biome keeps the rest, without tabs", () => {
    expect(source).not.toContain("\t");
    expect(source.split("\n").filter((line) => line.length > 120)).toEqual([]);
  });
});

describe("specialize", () => {
  test("redefines one const or alias line", () => {
    expect(specialize("const ROWS = 4u; // why\nalias real = f32;\n", { ROWS: "8u", real: "f16" })).toBe(
      "const ROWS = 8u; // why\nalias real = f16;\n",
    );
  });
  test("throws on a name that is not there once", () => {
    expect(() => specialize("const A = 1;\nconst A = 2;\n", { A: 3 })).toThrow("A is defined 2 times, not once");
    expect(() => specialize("let A = 1;", { A: 3 })).toThrow("A is defined 0 times, not once");
  });
});
