import { defineCommand } from "citty";
import { type CompleteOptions, complete } from "../app/complete";
import { locateModel } from "../app/locate";
import { openModel } from "../app/model";
import { UserError } from "../errors";
import { likeliest } from "../generate/probabilities";
import { sampling } from "../generate/sampling";
import { openConsole } from "../log/console";
import { kebab } from "./kebab";
import { all, deviceArg, numberOf, openFor } from "./options";

/** `dawngrad generate`: continues prompts. */
export default defineCommand({
  meta: { name: "generate", description: "continues prompts with a trained model" },
  args: {
    model: {
      type: "string",
      required: true,
      description: "a run folder, a checkpoint, a model directory, or a Hub name such as gpt2",
    },
    prompt: { type: "string", description: "what to continue; may be repeated; read from standard input if absent" },
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
    seed: { type: "string", default: "1337", description: "the same seed and prompt give the same text" },
    stop: { type: "string", description: "text that ends the answer; may be repeated" },
    "top-tokens": {
      type: "string",
      description: "prints the K likeliest next tokens with their probabilities instead",
    },
    special: { type: "boolean", description: "reads <|endoftext|> in a prompt as the token, and not as plain text" },
    json: { type: "boolean", description: "prints one JSON object a prompt" },
    ...deviceArg,
  },
  async run({ args, rawArgs }) {
    const options = optionsOf(args, all(rawArgs, "stop"));
    const given = all(rawArgs, "prompt");
    const prompts = given.length ? given : [await standardInput()];
    const console = openConsole();
    const directory = await locateModel(args.model, console);
    using device = openFor(args, console);
    using opened = await openModel(device, directory);

    if (args["top-tokens"] !== undefined) {
      const count = numberOf("top-tokens", args["top-tokens"]);
      if (!(Number.isInteger(count) && count >= 1)) {
        throw new UserError(`--top-tokens is ${args["top-tokens"]}, expected a whole number above 0`, { exitCode: 2 });
      }
      for (const prompt of prompts) {
        const found = likeliest(
          opened.engine.nextLogits(opened.tokenizer.encode(prompt, { special: args.special ?? false })),
          count,
        );
        const tokens = found.map(({ id, probability }) => ({ id, text: opened.tokenizer.decode([id]), probability }));
        if (args.json) print(`${JSON.stringify({ prompt, tokens })}\n`);
        else
          for (const { id, text, probability } of tokens)
            print(`${probability.toFixed(6)}  ${String(id).padStart(6)}  ${JSON.stringify(text)}\n`);
      }
      return;
    }
    const texts = prompts.map(() => "");
    const pieces = complete(opened, prompts, options);
    const streaming = prompts.length === 1 && !args.json;
    if (streaming) print(prompts[0]!);
    let step = pieces.next();
    for (; !step.done; step = pieces.next()) {
      texts[step.value.row] += step.value.text;
      if (streaming) print(step.value.text);
    }
    const endings = step.value;
    if (streaming) print("\n");
    else
      prompts.forEach((prompt, i) => {
        print(
          args.json
            ? `${JSON.stringify({ prompt, text: texts[i], ...endings[i] })}\n`
            : `${i ? "\n" : ""}${prompt}${texts[i]}\n`,
        );
      });
  },
});

const print = (text: string) => process.stdout.write(text);

function optionsOf(args: Readonly<Record<string, unknown>>, stop: string[]): CompleteOptions {
  const names = ["maxTokens", "temperature", "topK", "topP", "minP", "repetitionPenalty", "seed"] as const;
  const raw = Object.fromEntries(names.map((name) => [name, numberOf(kebab(name), String(args[kebab(name)]))]));
  const result = sampling.safeParse(raw);
  if (!result.success) {
    const [issue] = result.error.issues;
    throw new UserError(`--${kebab(String(issue!.path[0]))}: ${issue!.message}`, {
      hint: "--help lists the options",
      exitCode: 2,
    });
  }
  return { ...result.data, stop, special: args.special === true };
}

async function standardInput(): Promise<string> {
  if (process.stdin.isTTY)
    throw new UserError("no prompt was given", {
      hint: 'give --prompt "Once upon a time", or text on standard input',
      exitCode: 2,
    });
  return (await Bun.stdin.text()).replace(/\n$/, "");
}
