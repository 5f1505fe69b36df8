/** Flags have their types, defaults and sentences from a schema, and give back only what was said. */
import { describe, expect, test } from "bun:test";
import { parseArgs } from "citty";
import { z } from "zod";
import { flagsOf } from "../../src/cli/flags";
import { samplingArgs } from "../../src/cli/sampling";
import { sampling } from "../../src/generate/sampling";

const schema = z.strictObject({
  data: z.union([z.string(), z.array(z.string())]).meta({ description: "files" }),
  validation: z.union([z.number(), z.string()]).default(0.05).meta({ description: "a share or a file" }),
  strict: z.boolean().default(false).meta({ description: "stops" }),
  optim: z
    .strictObject({
      lr: z.number().default(6e-4).meta({ description: "the rate" }),
      steps: z.int().meta({ description: "steps in all" }).optional(),
      schedule: z.enum(["cosine", "linear"]).default("cosine").meta({ description: "how it falls" }),
    })
    .prefault({}),
  lora: z
    .strictObject({
      rank: z.int().default(16).meta({ description: "columns" }),
      targets: z.array(z.string()).default(["head"]).meta({ description: "layers" }),
    })
    .optional()
    .meta({ description: "trains an adapter" }),
  weights: z.array(z.number()).optional().meta({ description: "of each" }),
  kind: z.discriminatedUnion("kind", [
    z.strictObject({ kind: z.literal("one") }),
    z.strictObject({ kind: z.literal("two"), size: z.int().default(7).meta({ description: "how large" }) }),
  ]),
});
const flags = flagsOf(
  schema,
  {
    data: "data",
    validation: "validation",
    strict: "strict",
    lr: "optim.lr",
    steps: "optim.steps",
    schedule: "optim.schedule",
    free: { path: "optim.schedule", open: true },
    said: { path: "optim.schedule", open: true, says: "any" },
    lora: "lora",
    rank: { path: "lora.rank", needs: "lora" },
    target: { path: "lora.targets", needs: "lora" },
    size: "kind.size",
    weight: "weights",
  },
  { lr: 0.5 },
);
const collected = (...words: string[]) => flags.collect(parseArgs(["--data", "a", ...words], flags.args), words);

describe("a flag", () => {
  test("is described as its key is", () => {
    expect(flags.args).toEqual({
      data: { type: "string", description: "files; may be repeated", required: true, repeated: true },
      validation: { type: "string", description: "a share or a file", default: "0.05", required: false },
      strict: { type: "boolean", description: "stops" },
      lr: { type: "string", description: "the rate", default: "0.5", required: false },
      steps: { type: "string", description: "steps in all", required: false },
      schedule: {
        type: "enum",
        options: ["cosine", "linear"],
        description: "how it falls",
        default: "cosine",
        required: false,
      },
      free: { type: "string", description: "how it falls: cosine, linear", default: "cosine", required: false },
      said: { type: "string", description: "any", default: "cosine", required: false },
      lora: { type: "boolean", description: "trains an adapter" },
      rank: {
        type: "string",
        description: "with --lora: columns",
        default: "16",
        required: false,
        needs: ["lora"],
      },
      target: {
        type: "string",
        description: "with --lora: layers; may be repeated",
        required: false,
        needs: ["lora"],
        repeated: true,
      },
      size: { type: "string", description: "how large", default: "7", required: false },
      weight: { type: "string", description: "of each; may be repeated", required: false, repeated: true },
    });
  });
  test.each([
    [[], {}],
    [["--validation", "0.05", "--schedule", "cosine"], {}],
    [["--validation", "0.2"], { validation: 0.2 }],
    [["--validation", "x.jsonl"], { validation: "x.jsonl" }],
    [["--data=b"], { data: "b" }],
    [["--data=b", "--data", "c"], { data: ["b", "c"] }],
    [["--strict", "--steps", "9"], { strict: true, optim: { steps: 9 } }],
    [["--rank", "4", "--target", "x"], {}],
    [["--lora"], { lora: {} }],
    [["--rank", "4", "--lora", "--target", "x"], { lora: { rank: 4, targets: ["x"] } }],
    [["--size", "8"], { kind: { size: 8 } }],
    [["--weight", "2", "--weight=-0.5"], { weights: [2, -0.5] }],
    [["--lr", "6e-4"], { optim: { lr: 6e-4 } }],
  ])("%j is collected as %j", (words, wanted) => {
    // The command's own default stands where nothing was said.
    const { optim, ...rest } = wanted as { optim?: object };
    expect(collected(...words)).toEqual({ optim: { lr: 0.5, ...optim }, ...rest });
  });
  test("that should be a number is refused by its name", () => {
    expect(() => collected("--steps", "many")).toThrow('--steps is "many", expected a number');
    expect(() => collected("--weight=1", "--weight=much")).toThrow('--weight is "much", expected a number');
  });
  test("is parsed with the others, and refused by its name too", () => {
    const sample = flagsOf(sampling, { "top-p": "topP", seed: "seed" });
    const parse = (...words: string[]) => sample.parse(parseArgs(words, sample.args), words);
    expect(parse("--top-p", "0.5")).toEqual({ ...sampling.parse({}), topP: 0.5 });
    expect(() => parse("--top-p", "2")).toThrow("--top-p: Too big: expected number to be <=1");
  });
  test("for a key that the schema does not have is a mistake of ours", () => {
    expect(() => flagsOf(schema, { x: "optim.x" })).toThrow("the schema has no key optim.x");
  });
});

test("every setting of sampling has a flag", () => {
  const words = Object.keys(samplingArgs).map((name) => name.replaceAll("-", "").toLowerCase());
  for (const key of Object.keys(sampling.shape)) expect(words).toContain(key.toLowerCase());
});
