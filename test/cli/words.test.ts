/** Words behind a command: what belongs to no option is refused with what was probably meant, and nothing is thrown away. */
import { describe, expect, test } from "bun:test";
import type { ArgsDef, CommandDef } from "citty";
import cpo from "../../src/cli/cpo";
import data from "../../src/cli/data";
import dpo from "../../src/cli/dpo";
import evaluate from "../../src/cli/eval";
import exported from "../../src/cli/export";
import fetched from "../../src/cli/fetch";
import generate from "../../src/cli/generate";
import inspect from "../../src/cli/inspect";
import kto from "../../src/cli/kto";
import merge from "../../src/cli/merge";
import orpo from "../../src/cli/orpo";
import pretrain from "../../src/cli/pretrain";
import reward from "../../src/cli/reward";
import run from "../../src/cli/run";
import score from "../../src/cli/score";
import selfcheck from "../../src/cli/selfcheck";
import sft from "../../src/cli/sft";
import tokenizer from "../../src/cli/tokenizer";
import { readWords } from "../../src/cli/words";
import type { UserError } from "../../src/errors";

const of = (parent: unknown, name: string) => (parent as { subCommands: Record<string, unknown> }).subCommands[name];
const commands: Record<string, unknown> = {
  fetch: fetched,
  pretrain,
  sft,
  reward,
  dpo,
  kto,
  orpo,
  cpo,
  score,
  merge,
  "data show": of(data, "show"),
  run,
  generate,
  "eval perplexity": of(evaluate, "perplexity"),
  "eval answers": of(evaluate, "answers"),
  selfcheck,
  export: exported,
  "tokenizer train": of(tokenizer, "train"),
  "tokenizer info": of(tokenizer, "info"),
  "tokenizer encode": of(tokenizer, "encode"),
  "tokenizer decode": of(tokenizer, "decode"),
  inspect,
};

function read(command: string, ...words: string[]): string[] | null {
  return readWords((commands[command] as CommandDef).args as ArgsDef, words);
}

/** The message and the hint. */
function refusal(command: string, ...words: string[]): string {
  try {
    return `taken as ${JSON.stringify(read(command, ...words))}`;
  } catch (error) {
    const { message, hint, exitCode } = error as UserError;
    expect(exitCode).toBe(2);
    return `${message} | ${hint ?? ""}`;
  }
}

describe("a word that belongs to no option", () => {
  test.each([
    ["pretrain", ["--data", "a.txt", "b.txt", "c.txt"], "b.txt (and more behind it)", "--data a.txt --data b.txt"],
    ["sft", ["--model", "m", "--data", "a.jsonl", "b.jsonl"], "b.jsonl", "give --data for each"],
    ["tokenizer train", ["--data", "a", "b", "--out", "o"], "b", "--data a --data b"],
    ["eval perplexity", ["--model", "m", "--data", "a", "b"], "b", "--data takes one value"],
    ["eval answers", ["--model", "m", "--data", "a", "b"], "b", "--data takes one value"],
    ["generate", ["--model", "m", "--prompt", "The", "red"], "red", '--prompt "The red"'],
    ["generate", ["--model", "m", "--json", "red"], "red", "--json takes no value"],
    ["generate", ["runs/x"], "runs/x", "did you mean --model runs/x?"],
    ["pretrain", ["--data", "a", "steps=5"], "steps=5", "did you mean --steps?"],
    ["pretrain", ["--data", "a", "--", "b"], "b", "--data a --data b"],
    ["merge", ["--model", "m", "--out", "a", "b"], "b", "--out takes one value"],
    ["export", ["--model", "m", "n", "--out", "b"], "n", "--model takes one value"],
    ["run", ["a.toml", "b.toml"], "b.toml", "one CONFIG"],
    ["data show", ["a", "b"], "b", "one FILE"],
    ["fetch", ["gpt2", "alpaca"], "alpaca", "one NAME"],
    ["inspect", ["gpt2", "tiny"], "tiny", "one TARGET"],
    ["selfcheck", ["gpt2", "x"], "x", "one MODEL"],
    ["tokenizer info", ["--tokenizer", "t", "x"], "x", "--tokenizer takes one value"],
    ["tokenizer encode", ["--tokenizer", "t", "a", "b"], "b", "one TEXT"],
    ["pretrain", ["--data", "a", "-1"], "-1", "--data a --data -1"],
    ["pretrain", ["--data", "a", ""], "an empty word", ""],
  ])("%s %j", (command, words, what, hint) => {
    const found = refusal(command, ...words);
    expect(found).toStartWith(`${what} belongs to no option | `);
    expect(found).toContain(hint);
  });
});

describe("options that exclude each other, or count for nothing", () => {
  test.each([
    ["generate", ["--prompt", "a", "--prompts", "f"], "--prompt and --prompts exclude each other"],
    ["generate", ["--batch", "8"], "--batch counts for nothing without --prompts"],
    ["generate", ["--template", "chat"], "--template counts for nothing without --chat"],
    ["generate", ["--samples", "2", "--top-tokens", "3"], "--top-tokens and --samples exclude each other"],
    ["generate", ["--top-tokens", "3", "--temperature", "1"], "--top-tokens and --temperature exclude each other"],
    ["generate", ["--top-tokens", "3", "--logprobs"], "--top-tokens and --logprobs exclude each other"],
    ["generate", ["--logprobs"], "--logprobs counts for nothing without --json or --prompts"],
    ["generate", ["--chat", "--special"], "--chat and --special exclude each other"],
    ["sft", ["--base", "nf4"], "--base counts for nothing without --lora"],
    ["sft", ["--target", "head"], "--target counts for nothing without --lora"],
    ["sft", ["--rank", "16"], "--rank counts for nothing without --lora"],
    ["sft", ["--alpha", "1", "--lora=false"], "--alpha counts for nothing without --lora"],
    ["sft", ["--steps", "1", "--epochs", "2"], "--steps and --epochs exclude each other"],
    ["pretrain", ["--tokenizer", "character", "--vocabulary", "300"], "without --tokenizer bpe"],
    ["tokenizer train", ["--kind", "character", "--size", "300"], "without --kind bpe or --kind word"],
    ["tokenizer encode", ["--json", "--tokens"], "--tokens and --json exclude each other"],
    ["export", ["--type", "q8_0"], "--type counts for nothing without --format gguf"],
    ["run", ["c", "--from", "a", "--only", "b"], "--from and --only exclude each other"],
    ["data show", ["f", "--ids", "--json"], "--ids and --json exclude each other"],
  ])("%s %j", (command, words, wanted) => {
    expect(refusal(command, ...words)).toContain(wanted);
  });
  test("go where they count", () => {
    expect(read("generate", "--prompts", "f", "--batch", "8")).toEqual(["--prompts=f", "--batch=8", "--"]);
    expect(read("generate", "--logprobs", "--json")).toEqual(["--logprobs", "--json", "--"]);
    expect(read("export", "--format=gguf", "--type", "f16")).toEqual(["--format=gguf", "--type=f16", "--"]);
    expect(read("tokenizer train", "--size", "300")).toEqual(["--size=300", "--"]);
    expect(read("pretrain", "--vocabulary", "300")).toEqual(["--vocabulary=300", "--"]);
  });
});

test.each([
  ["generate", ["--seed", "1", "--seed", "2"], "--seed takes one value, and was given 1 and 2"],
  ["generate", ["--model="], "--model is empty"],
  ["generate", ["--stop", ""], "--stop is empty"],
  ["run", [""], "CONFIG is empty"],
  ["generate", ["--json=yes"], "--json takes no value, and was given yes"],
  ["generate", ["--model"], "--model needs a value"],
  ["generate", ["--model", "--json"], "--model needs a value | if --json is meant as one, write it as --model=--json"],
  ["generate", ["--prompt", "--"], "--prompt needs a value"],
  ["generate", ["-m", "x"], "there is no option -m"],
  ["generate", ["--temprature", "1"], "did you mean --temperature?"],
  ["generate", ["--promt", "1"], "did you mean --prompt?"],
  ["generate", ["--toString", "1"], "there is no option --toString"],
  ["run", ["--config=x"], "there is no option --config=x"],
  ["tokenizer encode", ["-x"], "words behind -- are no options"],
])("refused: %s %j", (command, words, wanted) => {
  expect(refusal(command, ...words)).toContain(wanted);
});

test("what is given reaches the command word for word", () => {
  expect(read("generate", "--prompt", "", "--prompt=a=b", "--prompt", "-5", "--json=true")).toEqual([
    "--prompt=",
    "--prompt=a=b",
    "--prompt=-5",
    "--json",
    "--",
  ]);
  expect(read("tokenizer decode", "--tokenizer", "t", "1", "-2", "--", "--x")).toEqual([
    "--tokenizer=t",
    "--",
    "1",
    "-2",
    "--x",
  ]);
  expect(read("tokenizer encode", "", "--special")).toEqual(["--special", "--", ""]);
});

test("help is a word where an option may stand", () => {
  expect(read("generate", "--model", "--help")).toBeNull();
  expect(read("generate", "-h")).toBeNull();
  expect(read("generate", "--prompt", "-h")).toEqual(["--prompt=-h", "--"]);
});
