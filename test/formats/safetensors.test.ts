/** Safetensors files: what is written is read back, and damaged ones are refused. */
import { describe, expect, test } from "bun:test";
import { statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { UserError } from "../../src/errors";
import { openSafetensors, writeSafetensors } from "../../src/formats/safetensors";
import { watchDisk } from "../support/disk";
import { temporaryFolder } from "../support/folder";

const tensors = [
  { name: "a", shape: [2, 3], values: () => Float32Array.of(1, -2, 3.5, 0, 1e-30, 4) },
  { name: "b.weight", shape: [1], values: () => Float32Array.of(7) },
];

test("what is written is read back bit for bit", () => {
  using folder = temporaryFolder();
  const path = join(folder.path, "x.safetensors");
  writeSafetensors(path, tensors);
  using file = openSafetensors(path);
  expect(file.metadata).toEqual({ format: "pt" });
  for (const { name, shape, values } of tensors) {
    const info = file.tensors.get(name)!;
    const into = new Float32Array(values().length);
    file.read(info, into);
    expect(info.shape).toEqual(shape);
    expect(into).toEqual(values());
  }
});

test("what is written is on the disk, to its last byte, when that is over", () => {
  using folder = temporaryFolder();
  const path = join(folder.path, "x.safetensors");
  using disk = watchDisk();
  writeSafetensors(path, tensors);
  expect(disk.events.at(-1)).toEqual({ what: "sync", path, size: statSync(path).size });
});

/** A file with this header and so many bytes of data. */
function hostile(header: unknown, dataBytes = 8, claimed?: bigint): Uint8Array {
  const json = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + json.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, claimed ?? BigInt(json.length), true);
  bytes.set(json, 8);
  return bytes;
}

const one = (over: object) => ({ x: { dtype: "F32", shape: [2], data_offsets: [0, 8], ...over } });

describe("a damaged file is refused with one sentence", () => {
  const cases: [string, Uint8Array, RegExp][] = [
    ["no header", new Uint8Array(3), /no header/],
    ["a header beyond the file", hostile(one({}), 8, 1000n), /claims 1000 bytes/],
    ["a header of absurd size", hostile(one({}), 8, 2n ** 63n), /claims 9223372036854775808 bytes/],
    ["a header that is not JSON", hostile("{not json"), /not JSON/],
    ["a header that is a list", hostile([1]), /not an object/],
    ["an unknown type", hostile(one({ dtype: "F7" })), /unknown type "F7"/],
    ["a negative size", hostile(one({ shape: [-2] })), /no valid shape/],
    ["offsets the wrong way round", hostile(one({ data_offsets: [8, 0] })), /no valid data_offsets/],
    ["data beyond the file", hostile(one({ shape: [200], data_offsets: [0, 800] })), /ends at byte/],
    ["a size that is not the shape's", hostile(one({ shape: [1] })), /needs 4 bytes and has 8/],
    ["a type with a name of JavaScript's", hostile(one({ dtype: "constructor" })), /unknown type "constructor"/],
    ["a type that is no text", hostile(one({ dtype: [["F32"]] })), /unknown type a list/],
    [
      "a type of 300,000 brackets",
      hostile(`{"x": {"dtype": ${"[".repeat(3e5)}${"]".repeat(3e5)}}}`),
      /unknown type a list/,
    ],
    ["a header of 300,000 brackets", hostile("[".repeat(3e5)), /not JSON/],
    ["an entry that is null", hostile({ x: null }), /unknown type undefined/],
    ["an entry that is a number", hostile({ x: 5 }), /unknown type undefined/],
    ["a shape that is no list", hostile(one({ shape: 2 })), /no valid shape/],
    ["a shape in words", hostile(one({ shape: ["2"] })), /no valid shape/],
    ["a part of an element", hostile(one({ shape: [1.5] })), /no valid shape/],
    ["a shape beyond counting", hostile(one({ shape: [2 ** 52, 2 ** 52] })), /needs \S+ bytes and has 8/],
    ["three offsets", hostile(one({ data_offsets: [0, 8, 8] })), /no valid data_offsets/],
    ["negative offsets", hostile(one({ data_offsets: [-8, 0] })), /no valid data_offsets/],
    ["offsets in words", hostile(one({ data_offsets: ["0", "8"] })), /no valid data_offsets/],
    ["metadata that is a number", hostile({ ...one({}), __metadata__: 5 }), /__metadata__ is no object of texts/],
    ["metadata that is a list", hostile({ ...one({}), __metadata__: [] }), /__metadata__ is no object of texts/],
    ["metadata of numbers", hostile({ ...one({}), __metadata__: { a: 1 } }), /__metadata__ is no object of texts/],
    [
      "tensors that overlap",
      hostile({ ...one({}), y: { dtype: "F32", shape: [1], data_offsets: [4, 8] } }),
      /overlaps/,
    ],
  ];
  test.each(cases)("%s", (_name, bytes, message) => {
    using folder = temporaryFolder();
    const path = join(folder.path, "x.safetensors");
    writeFileSync(path, bytes);
    expect(() => openSafetensors(path)).toThrow(UserError);
    expect(() => openSafetensors(path)).toThrow(message);
  });

  test("a folder, a pipe and a file without a name", () => {
    using folder = temporaryFolder();
    const path = join(folder.path, "pipe");
    Bun.spawnSync(["mkfifo", path]);
    expect(() => openSafetensors(folder.path)).toThrow(`${folder.path} cannot be read: it is a folder`);
    expect(() => openSafetensors(path)).toThrow(`${path} cannot be read: it is no regular file`);
    expect(() => openSafetensors(join(folder.path, "no"))).toThrow("no cannot be read: there is no such file");
  });

  test("a truncated file", () => {
    using folder = temporaryFolder();
    const path = join(folder.path, "x.safetensors");
    writeSafetensors(path, tensors);
    truncateSync(path, 170);
    expect(() => openSafetensors(path)).toThrow(/ends at byte/);
  });
});

test("a header of 900,000 tensors is refused before it is parsed", () => {
  using folder = temporaryFolder();
  const path = join(folder.path, "many.safetensors");
  const entry = (_: unknown, index: number) => `"t${index}":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}`;
  writeFileSync(path, hostile(`{${Array.from({ length: 9e5 }, entry).join()}}`, 0));
  expect(() => openSafetensors(path)).toThrow(/header claims \d+ bytes, at most 16777216 are read/);
});

describe("what a header may say", () => {
  const open = (header: unknown, dataBytes = 8) => {
    using folder = temporaryFolder();
    const path = join(folder.path, "x.safetensors");
    writeFileSync(path, hostile(header, dataBytes));
    using file = openSafetensors(path);
    return file;
  };
  test("metadata that is null is none", () => {
    expect(open({ ...one({}), __metadata__: null }).metadata).toEqual({});
    expect(open(one({})).metadata).toEqual({});
  });
  test("a scalar is one element, and names are names", () => {
    const { tensors } = open(
      '{"__proto__": {"dtype":"F32","shape":[],"data_offsets":[0,4]}, "constructor": {"dtype":"F32","shape":[1],"data_offsets":[4,8]}}',
    );
    expect([...tensors].map(([name, { shape }]) => [name, shape])).toEqual([
      ["__proto__", []],
      ["constructor", [1]],
    ]);
  });
});
