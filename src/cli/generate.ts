/** `dawngrad generate`: continues prompts. */
import { readFileSync } from "node:fs";
import { defineCommand } from "citty";
import { type CompleteOptions, complete } from "../app/complete";
import type { OpenModel } from "../app/model";
import { templateFor } from "../data/template-for";
import { codeOf, messageOf, UserError } from "../errors";
import { likeliest } from "../generate/probabilities";
import { sampling } from "../generate/sampling";
import { openConsole } from "../log/console";
import { type AnswerEnds, answerEnds } from "../text/answer";
import { kebab } from "./kebab";
import { modelArgs, openFromArgs } from "./open";
import { all, numberOf } from "./options";

export default defineCommand({
  meta: { name: "generate", description: "continues prompts with a trained model" },
  args: {
    model: {
      type: "string",
      required: true,
      description: "a run folder, a checkpoint, a model directory, or a Hub name such as gpt2",
    },
    prompt: { type: "string", description: "what to continue; may be repeated; read from standard input if absent" },
    prompts: {
      type: "string",
      description: 'a JSONL file of prompts, each line {"prompt": "..."}; prints a JSON object each',
    },
    batch: { type: "string", default: "8", description: "prompts of --prompts that run together" },
    samples: { type: "string", default: "1", description: "continuations of each prompt, each with a seed of its own" },
    "max-tokens": { type: "string", default: "100", description: "tokens to write at most" },
    temperature: { type: "string", default: "0.8", description: "0 takes the likeliest token" },
    "top-k": { type: "string", default: "0", description: "keep the K likeliest tokens; 0 keeps all" },
    "top-p": {
      type: "string",
      default: "1",
      description: "keep the likeliest tokens whose probabilities reach this sum",
    },
    "min-p": {
      type: "string",
      default: "0",
      description: "keep tokens at least this likely, relative to the likeliest",
    },
    "repetition-penalty": {
      type: "string",
      default: "1",
      description: "above 1, tokens that have occurred become less likely",
    },
    "presence-penalty": {
      type: "string",
      default: "0",
      description: "taken off the logit of what was written already",
    },
    "frequency-penalty": { type: "string", default: "0", description: "the same for each time that it was written" },
    "logit-bias": { type: "string", description: "ID=VALUE is added to that token's logit; may be repeated" },
    seed: { type: "string", default: "1337", description: "the same seed and prompt give the same text" },
    stop: { type: "string", description: "text that ends the answer; may be repeated" },
    "stop-id": { type: "string", description: "a token id that ends the answer; may be repeated" },
    logprobs: { type: "boolean", description: "adds every token with its log-probability; with --json or --prompts" },
    "top-tokens": {
      type: "string",
      description: "prints the K likeliest next tokens with their probabilities instead",
    },
    special: { type: "boolean", description: "reads <|endoftext|> in a prompt as the token, and not as plain text" },
    json: { type: "boolean", description: "prints one JSON object a prompt" },
    chat: {
      type: "boolean",
      description: "a prompt is a question to the assistant, told in the model's chat template",
    },
    template: {
      type: "string",
      default: "auto",
      description: "with --chat: auto, alpaca, instruction, chat, or a Jinja file",
    },
    ...modelArgs,
  },
  async run({ args, rawArgs }) {
    const asGiven = optionsOf(args, rawArgs);
    const samples = countOf("samples", args.samples);
    const batch = countOf("batch", args.batch);
    const lines = args.prompts === undefined ? null : readPrompts(args.prompts);
    const given = lines ? lines.map(({ prompt }) => prompt) : all(rawArgs, "prompt");
    const words = lines || given.length ? given : [await standardInput()];
    const console = openConsole();
    using opened = await openFromArgs(args, rawArgs, console);
    const template = args.chat ? templateFor(args.template, "messages", opened.tokenizer) : null;
    const prompts = template ? words.map((content) => template.prompt([{ role: "user", content }])) : words;
    const options = template ? endingWith(answerEnds(opened.tokenizer, template), asGiven) : asGiven;

    if (args["top-tokens"] !== undefined) {
      const count = numberOf("top-tokens", args["top-tokens"]);
      if (!(Number.isInteger(count) && count >= 1)) {
        throw new UserError(`--top-tokens is ${args["top-tokens"]}, expected a whole number above 0`, { exitCode: 2 });
      }
      for (const [i, prompt] of prompts.entries()) {
        const ids =
          typeof prompt === "string" ? opened.tokenizer.encode(prompt, { special: args.special ?? false }) : prompt;
        const found = likeliest(opened.engine.nextLogits(ids), count);
        const tokens = found.map(({ id, probability }) => ({ id, text: opened.tokenizer.decode([id]), probability }));
        if (args.json) print(`${JSON.stringify({ prompt: words[i], tokens })}\n`);
        else
          for (const { id, text, probability } of tokens)
            print(`${probability.toFixed(6)}  ${String(id).padStart(6)}  ${JSON.stringify(text)}\n`);
      }
      return;
    }
    checkIds(options, opened.model.config.vocabulary);
    if (!lines && prompts.length === 1 && samples === 1 && !args.json) {
      if (typeof prompts[0] === "string") print(prompts[0]);
      let begun = !args.chat;
      for (const { text } of complete(opened, prompts, options)) {
        print(begun ? text : text.trimStart());
        begun ||= text.trim() !== "";
      }
      print("\n");
      return;
    }
    const together = lines ? batch : prompts.length;
    for (let at = 0; at < prompts.length; at += together) {
      const part = prompts.slice(at, at + together);
      if (lines) console.status(`prompt ${at + 1}/${prompts.length}`);
      continuations(opened, part, { ...options, samples }).forEach(({ text: whole, ...ending }, i) => {
        const which = at + Math.floor(i / samples);
        const text = args.chat ? whole.trim() : whole;
        const answer = { prompt: words[which]!, text, ...ending };
        if (lines) print(`${JSON.stringify({ ...lines[which], ...answer })}\n`);
        else if (args.json) print(`${JSON.stringify(answer)}\n`);
        else print(`${i ? "\n" : ""}${answer.prompt}${args.chat ? "\n" : ""}${text}\n`);
      });
    }
    console.done();
  },
});

/** What ends an answer ends the text too. */
function endingWith({ ids, text }: AnswerEnds, options: CompleteOptions): CompleteOptions {
  return {
    ...options,
    stop: [...(options.stop ?? []), ...(text === null ? [] : [text])],
    stopIds: [...(options.stopIds ?? []), ...ids],
  };
}

/** Every prompt continued `samples` times, in order. */
function continuations(
  opened: OpenModel,
  prompts: readonly (string | readonly number[])[],
  { samples, ...options }: CompleteOptions & { readonly samples: number },
) {
  const rows = prompts.flatMap((prompt) => new Array<string | readonly number[]>(samples).fill(prompt));
  const texts = rows.map(() => "");
  const pieces = complete(opened, rows, options);
  let step = pieces.next();
  for (; !step.done; step = pieces.next()) texts[step.value.row] += step.value.text;
  const endings = step.value;
  return texts.map((text, i) => ({ text, ...endings[i]! }));
}

/** Lines of {"prompt": "..."}; what else they have is given back with the answer. */
function readPrompts(path: string): { readonly prompt: string }[] {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new UserError(
      `${path} cannot be read: ${codeOf(error) === "ENOENT" ? "there is no such file" : messageOf(error)}`,
    );
  }
  const lines = text.split("\n").map((line, i) => ({ line, number: i + 1 }));
  return lines
    .filter(({ line }) => line.trim() !== "")
    .map(({ line, number }) => {
      const bad = new UserError(`${path}:${number}: expected an object with a prompt, such as {"prompt": "Once"}`, {
        exitCode: 2,
      });
      let value: unknown;
      try {
        value = JSON.parse(line);
      } catch {
        throw bad;
      }
      if (typeof (value as { prompt?: unknown } | null)?.prompt !== "string") throw bad;
      return value as { prompt: string };
    });
}

function countOf(name: string, text: string): number {
  const value = numberOf(name, text);
  if (Number.isInteger(value) && value >= 1) return value;
  throw new UserError(`--${name} is ${text}, expected a whole number above 0`, { exitCode: 2 });
}

function checkIds({ stopIds = [], logitBias = new Map() }: CompleteOptions, vocabulary: number): void {
  const bad = [...stopIds, ...logitBias.keys()].find((id) => !(Number.isInteger(id) && id >= 0 && id < vocabulary));
  if (bad === undefined) return;
  throw new UserError(`${bad} is not a token id`, { hint: `ids are whole numbers below ${vocabulary}`, exitCode: 2 });
}

function biasOf(text: string): [number, number] {
  const [, id, value] = text.match(/^(\d+)=(-?[\d.]+(?:e-?\d+)?)$/) ?? [];
  if (id === undefined || !Number.isFinite(Number(value))) {
    throw new UserError(`--logit-bias is ${JSON.stringify(text)}, expected ID=VALUE, such as 198=-5`, { exitCode: 2 });
  }
  return [Number(id), Number(value)];
}

const print = (text: string) => process.stdout.write(text);

function optionsOf(args: Readonly<Record<string, unknown>>, rawArgs: readonly string[]): CompleteOptions {
  const names = Object.keys(sampling.shape);
  const raw = Object.fromEntries(names.map((name) => [name, numberOf(kebab(name), String(args[kebab(name)]))]));
  const result = sampling.safeParse(raw);
  if (!result.success) {
    const [issue] = result.error.issues;
    throw new UserError(`--${kebab(String(issue!.path[0]))}: ${issue!.message}`, {
      hint: "--help lists the options",
      exitCode: 2,
    });
  }
  return {
    ...result.data,
    stop: all(rawArgs, "stop"),
    stopIds: all(rawArgs, "stop-id").map((id) => numberOf("stop-id", id)),
    logitBias: new Map(all(rawArgs, "logit-bias").map(biasOf)),
    logProbs: args.logprobs === true,
    special: args.special === true,
  };
}

async function standardInput(): Promise<string> {
  if (process.stdin.isTTY)
    throw new UserError("no prompt was given", {
      hint: 'give --prompt "Once upon a time", or text on standard input',
      exitCode: 2,
    });
  return (await Bun.stdin.text()).replace(/\n$/, "");
}
