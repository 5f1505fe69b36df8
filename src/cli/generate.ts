/** `dawngrad generate`: continues prompts. */
import { defineCommand } from "citty";
import { type CompleteOptions, complete } from "../app/complete";
import type { OpenModel } from "../app/model";
import { templateFor } from "../data/template-for";
import { UserError } from "../errors";
import type { Asked } from "../generate/names";
import { likeliest } from "../generate/probabilities";
import { openConsole } from "../log/console";
import { type AnswerEnds, answerEnds } from "../text/answer";
import { modelArgs, openFromArgs } from "./open";
import { all, whole } from "./options";
import { readPrompts, standardInput } from "./prompts";
import { samplingArgs, samplingOf } from "./sampling";

export default defineCommand({
  meta: { name: "generate", description: "continues prompts with a trained model" },
  args: {
    model: {
      type: "string",
      required: true,
      description: "a run folder, a checkpoint, a model directory, or a Hub name such as gpt2",
    },
    prompt: {
      type: "string",
      repeated: true,
      blank: true,
      excludes: ["prompts"],
      description: "what to continue; may be repeated; read from standard input if absent",
    },
    prompts: {
      type: "string",
      description: 'a JSONL file of prompts, each line {"prompt": "..."}; prints a JSON object each',
    },
    batch: {
      type: "string",
      default: "8",
      needs: ["prompts"],
      description: "prompts of --prompts that run together",
    },
    samples: { type: "string", default: "1", description: "continuations of each prompt, each with a seed of its own" },
    ...samplingArgs,
    "top-tokens": {
      type: "string",
      excludes: ["samples", ...Object.keys(samplingArgs).filter((name) => name !== "special")],
      description: "prints the K likeliest next tokens with their probabilities instead",
    },
    json: { type: "boolean", description: "prints one JSON object a prompt" },
    chat: {
      type: "boolean",
      excludes: ["special"],
      description: "a prompt is a question to the assistant, told in the model's chat template",
    },
    template: {
      type: "string",
      default: "auto",
      needs: ["chat"],
      description: "with --chat: auto, alpaca, instruction, chat, or a Jinja file",
    },
    ...modelArgs,
  },
  async run({ args, rawArgs }) {
    const asGiven = samplingOf(args, rawArgs);
    const samples = whole("samples", args.samples);
    const batch = whole("batch", args.batch);
    const lines = args.prompts === undefined ? null : await readPrompts(args.prompts);
    const given = lines ? lines.map(({ prompt }) => prompt) : all(rawArgs, "prompt");
    const words = lines || given.length ? given : [await standardInput()];
    const console = openConsole();
    using opened = await openFromArgs(args, rawArgs, console);
    const template = args.chat ? templateFor(args.template, "messages", opened.tokenizer) : null;
    const prompts = template ? words.map((content) => template.prompt([{ role: "user", content }])) : words;
    const asked: Asked = new Map();
    const options = { ...(template ? endingWith(answerEnds(opened.tokenizer, template), asGiven) : asGiven), asked };

    if (args["top-tokens"] !== undefined) {
      const count = whole("top-tokens", args["top-tokens"]);
      for (const [i, prompt] of prompts.entries()) {
        const ids =
          typeof prompt === "string" ? opened.tokenizer.encode(prompt, { special: args.special ?? false }) : prompt;
        const found = likeliest(opened.engine.nextLogits(ids), count);
        const tokens = found.map(({ id, probability }) => ({ id, text: textAfter(opened, ids, id), probability }));
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

/** What a token adds to the text of those before it. */
function textAfter({ tokenizer }: OpenModel, before: readonly number[], id: number): string {
  const stream = tokenizer.stream(before);
  return stream.push(id) + stream.end();
}

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

function checkIds({ stopIds = [], logitBias = new Map() }: CompleteOptions, vocabulary: number): void {
  const bad = [...stopIds, ...logitBias.keys()].find((id) => !(Number.isInteger(id) && id >= 0 && id < vocabulary));
  if (bad === undefined) return;
  throw new UserError(`${bad} is not a token id`, { hint: `ids are whole numbers below ${vocabulary}`, exitCode: 2 });
}

const print = (text: string) => process.stdout.write(text);
