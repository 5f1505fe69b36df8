/** The architecture is a test: layers import only downward, and ops, kernels and tests belong together. */
import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** Lowest first: a folder may import itself and anything to its left. */
const layers = [
  "log",
  "hub",
  "device",
  "tensor",
  "ops",
  "autograd",
  "model",
  "optim",
  "text",
  "formats",
  "data",
  "generate",
  "eval",
  "train",
  "stages",
  "app",
  "cli",
];

const files = [...new Bun.Glob("src/**/*.ts").scanSync()].filter((file) => !file.endsWith(".d.ts"));
const layerOf = (file: string) => file.split("/")[1]!;

describe("layers", () => {
  test("are all of src", () => {
    const folders = readdirSync("src", { withFileTypes: true }).filter((entry) => entry.isDirectory());
    expect(folders.map(({ name }) => name).sort()).toEqual(layers.toSorted());
  });
  test("import only downward", () => {
    const transpiler = new Bun.Transpiler({ loader: "ts" });
    const upward = files
      .filter((file) => layers.includes(layerOf(file)))
      .flatMap((file) =>
        transpiler
          .scanImports(readFileSync(file))
          .filter(({ path }) => path.startsWith("."))
          .map(({ path }) => join(dirname(file), path))
          .filter(
            (target) => target.startsWith("src/") && layers.indexOf(layerOf(target)) > layers.indexOf(layerOf(file)),
          )
          .map((target) => `${file} -> ${target}`),
      );
    expect(upward).toEqual([]);
  });
  test("only device/webgpu knows the WebGPU library", () => {
    const knowing = files.filter((file) => /from "bun-webgpu|from "bun:ffi"/.test(readFileSync(file, "utf8")));
    expect(knowing).toEqual(["src/device/webgpu/provider.ts"]);
  });
  test("only device opens what is in device/webgpu", () => {
    const opening = files.filter(
      (file) => layerOf(file) !== "device" && /from "[./]+device\/webgpu/.test(readFileSync(file, "utf8")),
    );
    expect(opening).toEqual([]);
  });
});

test("every file begins with a sentence that says what it is", () => {
  const bare = files.filter((file) => !/^(#!.*\n)?(\/\*\*|import )/.test(readFileSync(file, "utf8")));
  expect(bare).toEqual([]);
});

test("every op in the index is tested, and every kernel is launched by somebody", () => {
  const index = readFileSync("src/ops/index.ts", "utf8");
  const ops = [...index.matchAll(/\{ ([^}]*) \}/g)].flatMap(([, names]) => names!.split(", "));
  const tests = [...new Bun.Glob("test/**/*.ts").scanSync()].map((file) => readFileSync(file, "utf8")).join("\n");
  expect(ops.filter((op) => !new RegExp(`\\b${op}\\b`).test(tests))).toEqual([]);
  const sources = files.map((file) => readFileSync(file, "utf8")).join("\n");
  const kernels = readdirSync("kernels").filter((name) => name.endsWith(".wgsl"));
  expect(kernels.filter((name) => !sources.includes(`kernels/${name}"`))).toEqual([]);
});
