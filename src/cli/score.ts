/** `dawngrad score --model RUN --data FILE`: what a reward model gives to texts, conversations or pairs. */
import { defineCommand } from "citty";
import { z } from "zod";
import { scoreFile } from "../app/score";
import type { Interval } from "../eval/interval";
import { openConsole } from "../log/console";
import { records } from "../stages/examples";
import { flagsOf } from "./flags";
import { modelArgs, openFromArgs } from "./open";
import { whole } from "./options";
import { print } from "./print";

const { template, strict } = records;
const recordFlags = flagsOf(z.object({ template, strict }), { template: "template", strict: "strict" });

export default defineCommand({
  meta: { name: "score", description: "scores texts, conversations or pairs of answers by a reward model" },
  args: {
    model: { type: "string", required: true, description: "a reward model: a run, a checkpoint, or a directory" },
    data: {
      type: "string",
      required: true,
      description: "texts, conversations, pairs of answers or answers with labels; or the name of a data set",
    },
    ...recordFlags.args,
    raw: { type: "boolean", description: "scores as the head gives them, not normalised" },
    batch: { type: "string", default: "16", description: "texts that run together" },
    out: { type: "string", description: "a JSONL file for every score" },
    json: { type: "boolean", description: "prints one JSON object, without the single scores" },
    ...modelArgs,
  },
  async run({ args, rawArgs }) {
    const console = openConsole();
    using opened = await openFromArgs(args, rawArgs, console, "reward");
    const { template, strict } = recordFlags.parse(args, rawArgs);
    const { lines, texts, pairs, normalisation, figures } = await scoreFile(
      opened,
      {
        data: args.data,
        template,
        strict,
        raw: args.raw === true,
        batch: whole("batch", args.batch, { most: 4096 }),
      },
      console,
    );
    for (const line of lines) console.note(line);
    const all = [...pairs, ...texts];
    if (args.out !== undefined) await Bun.write(args.out, all.map((one) => `${JSON.stringify(one)}\n`).join(""));
    const values = texts.length > 0 ? texts.map(({ score }) => score) : pairs.flatMap((p) => [p.chosen, p.rejected]);
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const deviation = Math.sqrt(
      values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / Math.max(1, values.length - 1),
    );
    const { gain, bias } = normalisation;
    if (args.json) {
      print(`${JSON.stringify({ scores: values.length, mean, deviation, gain, bias, ...figures })}\n`);
      return;
    }
    if (args.out === undefined) {
      for (const { where, chosen, rejected } of pairs)
        print(`${chosen.toFixed(4).padStart(9)} ${rejected.toFixed(4).padStart(9)}  ${where}\n`);
      for (const { where, score } of texts) print(`${score.toFixed(4).padStart(9)}  ${where}\n`);
    }
    const scale =
      gain === 1 && bias === 0
        ? "raw"
        : `${gain.toFixed(4)} x raw ${bias < 0 ? "-" : "+"} ${Math.abs(bias).toFixed(4)}`;
    print(`${values.length} scores, ${scale}: mean ${mean.toFixed(4)}, deviation ${deviation.toFixed(4)}\n`);
    if (!figures) return;
    const { accuracy, longer, matched, margin } = figures;
    print(`the chosen one is higher  ${told(accuracy)}, by ${margin.toFixed(4)} in the mean\n`);
    print(`the chosen one is longer  ${told(longer)}\n`);
    if (!matched) return;
    print(`  of like length: higher  ${told(matched.accuracy)}\n`);
    print(`  of like length: longer  ${told(matched.longer)}\n`);
  },
});

function told({ mean, low, high, count }: Interval): string {
  const percent = (share: number) => `${(100 * share).toFixed(1)}%`;
  return `${percent(mean)}  (95%: ${percent(low)} to ${percent(high)}; ${count} pairs)`;
}
