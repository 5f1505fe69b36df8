/** `dawngrad generate`: continues prompts. */
import { defineCommand } from "citty";
import { complete, completeAll, endingWith, expectIds, nextTokens, promptIds } from "../app/complete";
import { templateFor } from "../data/template-for";
import { UserError } from "../errors";
import type { Asked } from "../generate/names";
import { openConsole } from "../log/console";
import { answerEnds } from "../text/answer";
import { tick } from "../tick";
import { modelArgs, openFromArgs } from "./open";
import { all, whole } from "./options";
import { print } from "./print";
import { type PromptLine, readPrompts, standardInput } from "./prompts";
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
    const top = args["top-tokens"] === undefined ? null : whole("top-tokens", args["top-tokens"]);
    const lines = args.prompts === undefined ? null : await readPrompts(args.prompts);
    const given = lines ? lines.map(({ given }) => given.prompt) : all(rawArgs, "prompt");
    const words = lines || given.length ? given : [await standardInput()];
    const console = openConsole();
    using opened = await openFromArgs(args, rawArgs, console);
    const { tokenizer, engine } = opened;
    const template = args.chat ? templateFor(args.template, "messages", tokenizer) : null;
    const asked: Asked = new Map();
    const options = { ...(template ? endingWith(answerEnds(tokenizer, template), asGiven) : asGiven), asked };
    expectIds([...(options.stopIds ?? []), ...(options.logitBias?.keys() ?? [])], opened.model.config.vocabulary);
    const prompts = words.map((text, i): Prompt => {
      try {
        const ids = template
          ? template.prompt([{ role: "user", content: text }])
          : promptIds(tokenizer, text, options.special);
        engine.expectPrompts([ids]);
        return { text, ids, line: lines?.[i] };
      } catch (error) {
        // One line of many does not stop the others.
        if (!lines || !(error instanceof UserError)) throw error;
        return { text, line: lines[i], error: error.message };
      }
    });
    const tell = (prompt: Prompt, found: object) => print(`${JSON.stringify({ ...prompt.line?.given, ...found })}\n`);
    const refused = prompts.filter(({ error }) => error !== undefined);
    for (const { line, error } of refused) console.note(`${line!.where}: ${error}`);

    if (top !== null) {
      for (const prompt of prompts) {
        await tick();
        const { text, ids, error } = prompt;
        if (!ids) {
          tell(prompt, { prompt: text, error });
          continue;
        }
        const tokens = nextTokens(opened, ids, top).map(({ id, text, probability }) => ({ id, text, probability }));
        if (args.json) tell(prompt, { prompt: text, tokens });
        else
          for (const { id, text, probability } of tokens)
            print(`${probability.toFixed(6)}  ${String(id).padStart(6)}  ${JSON.stringify(text)}\n`);
      }
    } else if (!lines && prompts.length === 1 && samples === 1 && !args.json) {
      if (!template) print(prompts[0]!.text);
      let begun = !args.chat;
      for (const { text } of complete(opened, [prompts[0]!.ids!], options)) {
        await tick();
        if (text === "") continue;
        print(begun ? text : text.trimStart());
        begun ||= text.trim() !== "";
      }
      print("\n");
    } else {
      const together = lines ? batch : prompts.length;
      let told = 0;
      for (let at = 0; at < prompts.length; at += together) {
        const part = prompts.slice(at, at + together);
        if (lines) console.status(`prompt ${at + 1}/${prompts.length}`);
        const rows = part.flatMap(({ ids }) => (ids ? new Array<readonly number[]>(samples).fill(ids) : []));
        const answers = (await completeAll(opened, rows, { ...options, samples })).values();
        for (const prompt of part) {
          if (!prompt.ids) {
            tell(prompt, { prompt: prompt.text, error: prompt.error });
            continue;
          }
          for (const { text: whole, ...ending } of answers.take(samples)) {
            const text = args.chat ? whole.trim() : whole;
            if (lines || args.json) tell(prompt, { prompt: prompt.text, text, ...ending });
            else print(`${told++ ? "\n" : ""}${prompt.text}${args.chat ? "\n" : ""}${text}\n`);
          }
        }
      }
    }
    console.done();
    if (refused.length)
      throw new UserError(`${refused.length} of ${prompts.length} prompts could not be continued`, {
        hint: "their lines in the output say why",
      });
  },
});

interface Prompt {
  readonly text: string;
  readonly line?: PromptLine | undefined;
  /** What is to be continued, or why it cannot be. */
  readonly ids?: readonly number[];
  readonly error?: string;
}
