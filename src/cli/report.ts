/** `dawngrad report RUN`: a run on one page of HTML. */
import { join } from "node:path";
import { defineCommand } from "citty";
import { pageOf } from "../report/page";
import { readRun } from "../report/run";
import { writeOut } from "./out";
import { print } from "./print";

export default defineCommand({
  meta: { name: "report", description: "one page that shows a run: its stages, curves, figures and samples" },
  args: {
    run: { type: "positional", required: true, description: "a run's folder, such as runs/demo" },
    out: { type: "string", description: "the page (default: report.html in the run's folder)" },
  },
  async run({ args }) {
    const run = readRun(args.run);
    const out = args.out ?? join(args.run, "report.html");
    const page = await pageOf(run);
    await writeOut(out, page);
    for (const note of run.notes) console.error(note);
    print(`${out}\n`);
  },
});
