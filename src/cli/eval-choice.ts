/** `dawngrad eval choice`: which of several texts a model finds likeliest to follow another. */
import { defineCommand } from "citty";
import { readingBy } from "../app/locate";
import { UserError } from "../errors";
import { metricNames, type TaskName, taskNames, tasks } from "../eval/choice-tasks";
import type { ChoiceFigures, FileFigures } from "../eval/choices";
import { openConsole } from "../log/console";
import { measureChoices } from "../stages/evals/choose";
import { choice } from "../stages/evals/entries";
import { nearest } from "../text/nearest";
import { flagsOf } from "./flags";
import { modelArgs, openFromArgs } from "./open";
import { print } from "./print";

const choiceFlags = flagsOf(choice.pick({ limit: true, batch: true }), { limit: "limit", batch: "batch" });

export default defineCommand({
  meta: {
    name: "choice",
    description:
      "which of several texts a model finds likeliest to follow another: HellaSwag, ARC, BLiMP, LAMBADA, and your own",
  },
  args: {
    model: { type: "string", required: true, description: "a run, a checkpoint, a model directory, or a Hub name" },
    task: { type: "string", required: true, description: `what the records are: ${taskNames.join(", ")}` },
    data: { type: "string", required: true, description: "a data file, or a folder: every *.jsonl in it" },
    ...choiceFlags.args,
    out: { type: "string", description: "a JSONL file for every record with the log-likelihoods of its continuations" },
    json: { type: "boolean", description: "prints one JSON object" },
    ...modelArgs,
  },
  async run({ args, rawArgs }) {
    const console = openConsole();
    const options = {
      task: taskOf(args.task),
      data: args.data,
      ...choiceFlags.parse(args, rawArgs),
    };
    using opened = await openFromArgs(args, rawArgs, console);
    const { records, figures } = await measureChoices(opened, options, readingBy(console));
    if (args.out !== undefined)
      await Bun.write(args.out, records.map((record) => `${JSON.stringify(record)}\n`).join(""));
    print(args.json ? `${JSON.stringify(figures)}\n` : `${tableOf(figures).join("\n")}\n`);
  },
});

function taskOf(name: string): TaskName {
  const found = taskNames.find((each) => each === name);
  if (found) return found;
  const near = nearest(name, taskNames);
  throw new UserError(
    `--task is ${JSON.stringify(name)}, expected ${taskNames.slice(0, -1).join(", ")} or ${taskNames.at(-1)}`,
    {
      hint: near ? `did you mean ${near}?` : `your own records are of choice, which has ${tasks.choice.fields}`,
      exitCode: 2,
    },
  );
}

/** A line for every metric, behind those of each file. */
function tableOf({ task, method, files = {}, ...whole }: ChoiceFigures): string[] {
  const named = Object.entries(files);
  const width = Math.max(10, ...named.map(([name]) => name.length));
  const lines = (name: string, { records, metrics }: FileFigures) =>
    metricNames.flatMap((metric) => {
      const found = metrics[metric];
      if (!found) return [];
      const { value, stderr } = found;
      const error = stderr === null ? "" : `  ± ${numberIn(metric, stderr)}`;
      return `${name.padEnd(width)}  ${metric.padEnd(10)}  ${numberIn(metric, value)}${error}  (${records} records)`;
    });
  const last = named.length > 0 ? "mean" : task;
  return [
    ...named.flatMap(([name, figures]) => lines(name, figures)),
    ...lines(last, whole),
    `${method}; ± standard error`,
  ];
}

function numberIn(metric: (typeof metricNames)[number], value: number): string {
  return metric === "perplexity" ? value.toPrecision(6) : value.toFixed(4);
}
