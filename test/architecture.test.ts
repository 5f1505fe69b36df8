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
  "rewards",
  "eval",
  "train",
  "stages",
  "app",
  "chat",
  "api",
  "server",
  "report",
  "cli",
];

/** What every layer may import: files of `src` itself, which import only one another. */
const roots = ["errors.ts", "files.ts", "fingerprint.ts", "flock.ts", "lock.ts", "tick.ts"];

/** What stands above all layers: the program, and what is public of it. */
const tops = ["index.ts", "main.ts"];

const files = [...new Bun.Glob("src/**/*.ts").scanSync()].filter((file) => !file.endsWith(".d.ts")).sort();
const layerOf = (file: string) => file.split("/")[1]!;
const read = (file: string) => readFileSync(file, "utf8");

/** The files that a file imports, types included: a transpiler would leave those out. */
function importsOf(file: string): string[] {
  const paths = [...read(file).matchAll(/(?:\bfrom|^import|\bimport\()\s*"(\.[^"]+)"/gm)].map(([, path]) =>
    join(dirname(file), path!),
  );
  return paths.flatMap((path) => [path, `${path}.ts`, `${path}/index.ts`].find((name) => files.includes(name)) ?? []);
}

const imports = new Map(files.map((file) => [file, importsOf(file)]));

/** A circle of imports, the first file of it once more at its end; null if there is none. */
function findCircle(): string[] | null {
  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]): string[] | null => {
    const at = path.indexOf(file);
    if (at >= 0) return [...path.slice(at), file];
    if (done.has(file)) return null;
    for (const target of imports.get(file)!) {
      const found = visit(target, [...path, file]);
      if (found) return found;
    }
    done.add(file);
    return null;
  };
  for (const file of files) {
    const found = visit(file, []);
    if (found) return found;
  }
  return null;
}

describe("layers", () => {
  test("are all of src", () => {
    const entries = readdirSync("src", { withFileTypes: true }).filter(({ name }) => !name.endsWith(".d.ts"));
    const names = (folders: boolean) =>
      entries.filter((entry) => entry.isDirectory() === folders).map(({ name }) => name);
    expect(names(true).sort()).toEqual(layers.toSorted());
    expect(names(false).sort()).toEqual([...roots, ...tops].sort());
  });
  test("import only downward", () => {
    const mayImport = (file: string, target: string) => {
      const [from, to] = [layerOf(file), layerOf(target)];
      if (roots.includes(to)) return true;
      return !roots.includes(from) && layers.indexOf(to) <= layers.indexOf(from);
    };
    const upward = files
      .filter((file) => !tops.includes(layerOf(file)))
      .flatMap((file) =>
        imports
          .get(file)!
          .filter((target) => !mayImport(file, target))
          .map((target) => `${file} -> ${target}`),
      );
    expect(upward).toEqual([]);
  });
  test("and files import in no circle, types included", () => {
    expect(findCircle()?.join(" -> ")).toBeUndefined();
  });
  test("only device/webgpu knows the WebGPU library, and few files call C", () => {
    const knowing = files.filter((file) => /from "bun-webgpu|from "bun:ffi"/.test(read(file)));
    const webgpu = ["dawn-device", "provider", "struct"].map((name) => `src/device/webgpu/${name}.ts`);
    // Machine code is called as C is; flock.ts calls the system's own library.
    const cpu = ["native/executable", "native/features", "pool"].map((name) => `src/device/cpu/${name}.ts`);
    expect(knowing).toEqual([...cpu, ...webgpu, "src/flock.ts"]);
  });
  test("only device opens what is in device/webgpu", () => {
    const opening = files.filter((file) => layerOf(file) !== "device" && /from "[./]+device\/webgpu/.test(read(file)));
    expect(opening).toEqual([]);
  });
});

test("every file begins with a sentence that says what it is", () => {
  const first = (file: string) => read(file).match(/^(?:#!.*\n)?\/\*\*(.*?)\*\//s)?.[1] ?? "";
  const isSentence = (text: string) => text.split(/\s+/).length > 4 && /[.:?]/.test(text);
  const all = [...files, ...new Bun.Glob("{test,scripts}/**/*.ts").scanSync()];
  expect(all.filter((file) => !isSentence(first(file)))).toEqual([]);
});

test("every expectation of a promise is waited for: one that is not cannot fail its test", () => {
  const floating = [...new Bun.Glob("test/**/*.ts").scanSync()].flatMap((file) => {
    const source = read(file);
    return [...source.matchAll(/\.(?:rejects|resolves)\b/g)]
      .map(({ index }) => source.slice(0, source.lastIndexOf("expect(", index)))
      .filter((before) => !/(?:\bawait|\breturn|=>)\s+$/.test(before))
      .map((before) => `${file}:${before.split("\n").length}`);
  });
  expect(floating).toEqual([]);
});

test("no file of src has over 300 lines", () => {
  const lines = (file: string) => read(file).split("\n").length - 1;
  expect(files.filter((file) => lines(file) > 300)).toEqual([]);
});

test("every op in the index is tested, and every kernel is launched by somebody", () => {
  const index = readFileSync("src/ops/index.ts", "utf8");
  const ops = [...index.matchAll(/\{([^}]*)\}/g)].flatMap(([, names]) => names!.match(/\w+/g) ?? []);
  const tests = [...new Bun.Glob("test/**/*.ts").scanSync()].map((file) => read(file)).join("\n");
  expect(ops.filter((op) => !new RegExp(`\\b${op}\\b`).test(tests))).toEqual([]);
  const sources = files.map((file) => read(file)).join("\n");
  const kernels = readdirSync("kernels").filter((name) => name.endsWith(".wgsl"));
  expect(kernels.filter((name) => !sources.includes(`kernels/${name}"`))).toEqual([]);
});
