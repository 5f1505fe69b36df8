/** What a result depends on: which settings count, and how a difference is told. */
import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { hasher } from "../../src/app/hasher";
import { withRoles } from "../../src/app/older-parts";
import { defaultParts, difference, keyOf, settingParts } from "../../src/app/parts";
import { kindOf, stageSchema } from "../../src/stages";
import { temporaryFolder } from "../support/folder";

const sft = (more: object = {}) => {
  const config = stageSchema.parse({ kind: "sft", data: "d.jsonl", ...more });
  return settingParts(config, kindOf(config).schema);
};

describe("settings", () => {
  const plain = sft();
  test("as the schema has them, neutral ones and the name are left out", () => {
    expect(plain).toEqual({ "setting kind": '"sft"' });
  });
  test.each([
    ["logs", { logEvery: 1 }],
    ["samples", { samples: { every: 3, prompts: ["x"], temperature: 0 } }],
    ["checkpoints", { save: { every: 7, keep: 9 } }],
    ["the name", { name: "other" }],
    ["the path of its data, whose contents count by themselves", { data: "./d.jsonl" }],
    ["a default, written out", { epochs: 3, optim: { beta1: 0.9 }, trees: { paths: "best" } }],
  ])("another result does not come from %s", (_name, more) => {
    expect(keyOf(sft(more))).toBe(keyOf(plain));
  });
  test.each([
    ["a rate", { optim: { lr: 1e-3 } }, "optim.lr was not given and is 0.001"],
    ["a value other than the default", { epochs: 4 }, "epochs was 3 and is 4"],
    ["when the best checkpoint is chosen", { evaluate: { every: 5 } }, "evaluate.every was 250 and is 5"],
    ["an adapter, all of it by default", { lora: {} }, "lora is new"],
  ])("another result comes from %s", (_name, more, told) => {
    const { schema } = kindOf(stageSchema.parse({ kind: "sft", data: "d.jsonl" }));
    expect(keyOf(sft(more))).not.toBe(keyOf(plain));
    expect(difference(plain, sft(more), defaultParts(schema))).toBe(told);
  });
  test("a schema that grows by a key with a default makes nothing stale", () => {
    const before = z.strictObject({ rate: z.number(), optim: z.strictObject({ a: z.int().default(1) }).prefault({}) });
    const now = z.strictObject({
      ...before.shape,
      optim: before.shape.optim
        .unwrap()
        .extend({ b: z.int().default(2) })
        .prefault({}),
      more: z.strictObject({ c: z.string().default("x") }).prefault({}),
      one: z.boolean().default(false),
    });
    const parts = (schema: z.ZodObject) => settingParts(schema.parse({ rate: 3 }), schema);
    expect(parts(now)).toEqual(parts(before));
  });
});

test("a key does not come from the order in which parts are named", () => {
  expect(keyOf({ seed: "1", kind: "sft 1", "data 1: a": "x" })).toBe(
    keyOf({ "data 1: a": "x", kind: "sft 1", seed: "1" }),
  );
});

test("a difference is told by what it is", () => {
  expect(difference({ a: "1" }, { a: "1" })).toBeNull();
  expect(difference({}, { a: "1" })).toBe("what it was made from is not known");
  const told = (before: string | undefined, now: string | undefined, name: string) =>
    difference({ x: "1", ...(before && { [name]: before }) }, { x: "1", ...(now && { [name]: now }) });
  expect(told("1", "2", "data 1: a.txt")).toBe("a.txt has changed");
  expect(told(undefined, "2", "data 1: a.txt")).toBe("a.txt is new");
  expect(told("1", undefined, "data 1: a.txt")).toBe("a.txt is no longer read");
  expect(told("1", "2", "reads from: pretrain")).toBe("pretrain has another result");
  expect(told("1", undefined, "reads from: pretrain")).toBe("it reads pretrain no longer");
  expect(told("sft 1", "sft 2", "kind")).toBe("kind was sft 1 and is sft 2");
  expect(told("given", undefined, "setting lora")).toBe("lora is no longer given");
});

test("files and models count by what is in them and by their order, not by their names", () => {
  const parts = (a: string, b: string) => ({ "data 1: a.txt": a, "data 2: b: c.txt": b, "reads from: x": "5" });
  const renamed = { "data 1: ./a.txt": "1", "data 2: other.txt": "2", "reads from: runs/x": "5" };
  expect(keyOf(renamed)).toBe(keyOf(parts("1", "2")));
  expect(difference(parts("1", "2"), renamed)).toBeNull();
  expect(keyOf(parts("2", "1"))).not.toBe(keyOf(parts("1", "2")));
  expect(difference(parts("1", "2"), parts("1", "3"))).toBe("b: c.txt has changed");
  const { schema } = kindOf(stageSchema.parse({ kind: "sft", data: "d.jsonl" }));
  const validated = (validation: string) => settingParts({ validation, template: "chat" }, schema, [validation]);
  expect(validated("v.jsonl")).toEqual(validated("./v.jsonl"));
  expect(validated("v.jsonl")).not.toEqual(settingParts({ template: "chat" }, schema));
});

test("parts as older stage files have them are those of today", () => {
  const today = withRoles({
    kind: "sft 1",
    "setting data": '["a.jsonl","b: c.jsonl"]',
    "setting validation": '"v.jsonl"',
    "setting template": '"chat"',
    "setting lora": "given",
    "setting subset": "60",
    "reads pretrain": "5",
    "data a.jsonl": "1",
    "data b: c.jsonl": "2",
    "data v.jsonl": "3",
  });
  expect(today).toEqual({
    kind: "sft 1",
    "setting validation": "a file",
    "setting template": '"chat"',
    "setting lora": "given",
    "setting subset": "60",
    "reads from: pretrain": "5",
    "data 1: a.jsonl": "1",
    "data 2: b: c.jsonl": "2",
    "data 3: v.jsonl": "3",
  });
  expect(withRoles(today)).toEqual(today);
  const merge = {
    kind: "merge 1",
    "reads b": "2",
    "setting models 1": '"a"',
    "reads a": "1",
    "setting models 2": '"b"',
  };
  expect(withRoles(merge)).toEqual({ kind: "merge 1", "reads models 1: a": "1", "reads models 2: b": "2" });
  const fresh = { "reads tokenizer": "7", "data c.txt": "8", "setting data": '"c.txt"' };
  expect(withRoles(fresh)).toEqual({ "reads tokenizer": "7", "data 1: c.txt": "8" });
});

test("a file whose size and time are known is not read again; another is", async () => {
  using folder = temporaryFolder();
  const path = join(folder.path, "a.txt");
  writeFileSync(path, "abc");
  // The published digest of "abc" (FIPS 180-2, appendix B.1).
  const abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  const first = hasher({});
  expect(await first.of(path)).toBe(abc);
  const seen = first.seen[path]!;
  expect(await hasher({ [path]: { ...seen, hash: "as known" } }).of(path)).toBe("as known");
  expect(await hasher({ [path]: { ...seen, size: 4, hash: "as known" } }).of(path)).toBe(abc);
  expect(await hasher({ [path]: { ...seen, mtimeMs: 1, hash: "as known" } }).of(path)).toBe(abc);
  await expect(hasher({}).of(join(folder.path, "none"))).rejects.toThrow("none cannot be read: there is no such file");
});
