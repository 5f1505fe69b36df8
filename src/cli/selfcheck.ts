/** `dawngrad selfcheck gpt2`: the loaded model against what is published of GPT-2 124M. */
import { defineCommand } from "citty";
import { UserError } from "../errors";
import { comparePublished, published, publishedLogits } from "../eval/published";
import { openConsole } from "../log/console";
import { modelArgs, openFromArgs } from "./open";
import { print } from "./print";

export default defineCommand({
  meta: {
    name: "selfcheck",
    description: "compares a loaded gpt2 (124M) with published logits; exit code 0 if it agrees",
  },
  args: {
    model: { type: "positional", required: true, description: "gpt2, or a folder with its weights" },
    ...modelArgs,
  },
  async run({ args, rawArgs }) {
    using opened = await openFromArgs(args, rawArgs, openConsole());
    const { device } = opened;
    const { layers, width, vocabulary } = opened.model.config;
    if (layers !== 12 || width !== 768 || vocabulary !== 50257) {
      throw new UserError(
        `${opened.parts.base} has ${layers} layers, width ${width} and ${vocabulary} tokens; the published figures are of gpt2's 12, 768 and 50257`,
        { hint: "eval perplexity compares models of any size" },
      );
    }
    const ids = opened.tokenizer.encode(published.text);
    const tokenized = ids.join() === published.ids.join();
    const compared = comparePublished(publishedLogits(device, opened));
    const lines = compared.map(({ what, wanted, got, tolerance }) => {
      const ok = Math.abs(got - wanted) <= tolerance;
      return `${ok ? "ok   " : "FAIL "}${what.padEnd(34)} published ${wanted.toFixed(4).padStart(10)}  here ${got.toFixed(4).padStart(10)}`;
    });
    const tokens = `${tokenized ? "ok   " : "FAIL "}tokens of ${JSON.stringify(published.text)}: ${ids.join(" ")}`;
    const agrees = tokenized && lines.every((line) => line.startsWith("ok"));
    const verdict = agrees ? "this is gpt2, and it computes as published" : "this is not gpt2 as published";
    print(`${[tokens, ...lines, "", verdict].join("\n")}\n`);
    if (!agrees) process.exitCode = 1;
  },
});
