/** `dawngrad plot RUN/STAGE --metric loss`: a curve in the terminal, or as an SVG file. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { defineCommand } from "citty";
import { UserError } from "../errors";
import { mayColour } from "../log/console";
import { pointsIn, readRun } from "../report/run";
import { type Series, thinned } from "../report/series";
import { svgOf } from "../report/svg";
import { terminalChart } from "../report/terminal";
import { nearest } from "../text/nearest";
import { all } from "./options";
import { writeOut } from "./out";
import { print } from "./print";

export default defineCommand({
  meta: { name: "plot", description: "metrics of stages as curves, in the terminal or as an SVG file" },
  args: {
    stage: {
      type: "positional",
      required: true,
      description: "a stage's folder, such as runs/demo/sft; or a run's, for all of its stages",
    },
    metric: {
      type: "string",
      repeated: true,
      description: "what is drawn; may be repeated (default: loss, with validation_loss)",
    },
    against: { type: "string", repeated: true, description: "another stage or run to draw beside it; may be repeated" },
    out: { type: "string", description: "an SVG file instead of the terminal" },
  },
  async run({ args, rawArgs }) {
    const asked = all(rawArgs, "metric");
    const wanted = asked.length > 0 ? asked : ["loss", "validation_loss"];
    const folders = [args.stage, ...all(rawArgs, "against")].flatMap(stagesIn);
    const known = new Set<string>();
    const series: Series[] = folders.flatMap((folder) => {
      const points = pointsIn(join(folder, "metrics.jsonl"));
      for (const { values } of points) for (const name of Object.keys(values)) known.add(name);
      return wanted.flatMap((name) => {
        const found = points.flatMap(({ step, values }) => (name in values ? [[step, values[name]!] as const] : []));
        const label = folders.length > 1 ? `${folder.replace(/\/+$/, "")} ${name}` : name;
        return found.length > 0 ? [{ name: label, points: thinned(found) }] : [];
      });
    });
    const missing = asked.find((name) => !known.has(name));
    if (missing !== undefined || series.length === 0) {
      const name = missing ?? wanted[0]!;
      const near = nearest(name, [...known]);
      throw new UserError(`${args.stage} has no metric ${name}`, {
        hint: near
          ? `did you mean ${near}?`
          : known.size > 0
            ? `it has ${[...known].join(", ")}`
            : "it has no metrics yet",
        exitCode: 2,
      });
    }
    const chart = { title: wanted.filter((name) => known.has(name)).join(", "), x: "step", series };
    if (args.out !== undefined) {
      const svg = await svgOf(chart, { width: 720, height: 400 });
      await writeOut(args.out, svg);
      print(`${args.out}\n`);
      return;
    }
    const { columns = 80 } = process.stdout;
    const colour = mayColour(process.stdout);
    print(`${terminalChart(chart, { columns: Math.min(columns, 120), colour }).join("\n")}\n`);
  },
});

/** The folder itself if it has metrics, else those of the run's stages that have. */
function stagesIn(folder: string): string[] {
  if (existsSync(join(folder, "metrics.jsonl"))) return [folder];
  const stages = readRun(folder).stages.map(({ name }) => join(folder, name));
  const found = stages.filter((stage) => existsSync(join(stage, "metrics.jsonl")));
  if (found.length > 0) return found;
  throw new UserError(`${folder} has no metrics yet`, { hint: "a stage writes them while it trains", exitCode: 2 });
}
