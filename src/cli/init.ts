/** `dawngrad init GOAL`: a commented config, and sample data beside it, in this folder. Asks nothing. */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { defineCommand } from "citty";
import { findFile } from "../app/embedded";
import { goals } from "../app/goals";
import { UserError } from "../errors";
import { writeNew } from "../files";
import { nearest } from "../text/nearest";
import { expectNew } from "./out";
import { print } from "./print";

const names = Object.keys(goals);

export default defineCommand({
  meta: { name: "init", description: "writes a commented config for a goal, with sample data, into this folder" },
  args: {
    goal: {
      type: "positional",
      required: false,
      description: Object.entries(goals)
        .map(([name, { about }]) => `${name}: ${about}`)
        .join("; "),
    },
    out: { type: "string", default: "dawngrad.toml", description: "the config's file" },
  },
  async run({ args }) {
    const { goal: wanted = "text", out } = args;
    if (!Object.hasOwn(goals, wanted)) {
      const near = nearest(wanted, names);
      throw new UserError(`there is no goal ${wanted}`, {
        hint: near ? `did you mean ${near}?` : `goals: ${names.join(", ")}`,
        exitCode: 2,
      });
    }
    const { config, data } = goals[wanted]!;
    const folder = dirname(out);
    const own = Object.keys(data).find((name) => resolve(folder, name) === resolve(out));
    if (own !== undefined || /[\n\r]/.test(out))
      throw new UserError(
        own ? `${own} is the data of this goal` : `--out ${JSON.stringify(out)} has a line end in it`,
        {
          hint: "give the config another name with --out",
          exitCode: 2,
        },
      );
    expectNew(out);
    const lines = [`${out}: ${goals[wanted]!.about}`];
    // The config last: what it names is there when it is.
    for (const [name, sample] of Object.entries(data)) {
      const path = join(folder, name);
      if (existsSync(path)) lines.push(`${path}: yours, which is there already`);
      else {
        await writeNew(path, (aside) => Bun.write(aside, readFileSync(findFile(sample))).then(() => {}));
        lines.push(`${path}: a sample; put your own in its place`);
      }
    }
    await writeNew(out, (path) =>
      Bun.write(
        path,
        config.replaceAll("dawngrad.toml", () => out),
      ).then(() => {}),
    );
    print(`${lines.join("\n")}\nnext: dawngrad run ${quoted(out)}\n`);
  },
});

/** A word as a shell takes it. */
function quoted(word: string): string {
  return /^[\w./:@%+=,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
