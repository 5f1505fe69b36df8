/** `dawngrad eval SUITE.toml`: everything that a file says is to be measured, of one model or of several, as one table. */

import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { defineCommand } from "citty";
import { hasher } from "../app/hasher";
import { locateParts, readingBy } from "../app/locate";
import { openOn } from "../app/open";
import { savedNormalisation } from "../app/score";
import { askedIn, readSuite, withModels } from "../app/suite";
import { UserError } from "../errors";
import { isHeld, tryLock } from "../lock";
import { openConsole } from "../log/console";
import { keptResults, writeResults } from "../stages/evals/results";
import { measureAll } from "../stages/evals/suite";
import { tableOf } from "../stages/evals/table";
import { modelArgs, openingBy } from "./open";
import { all, openFor } from "./options";
import { print } from "./print";

export default defineCommand({
  meta: {
    name: "suite",
    description: "measures all that a file says (dawngrad eval SUITE.toml), as a table, and keeps the results",
  },
  args: {
    suite: {
      type: "positional",
      required: true,
      description: "a TOML file, or one inside the program: configs/evaluation.toml",
    },
    model: {
      type: "string",
      repeated: true,
      description: "a run, a checkpoint, a model directory, or a Hub name, instead of the suite's; may be repeated",
    },
    out: {
      type: "string",
      default: "results.json",
      description: "the file of results, written after each; what it has of the same is kept, and not measured again",
    },
    json: { type: "boolean", description: "prints one JSON object" },
    ...modelArgs,
  },
  async run({ args, rawArgs }) {
    const console = openConsole();
    const suite = withModels(await readSuite(args.suite), all(rawArgs, "model"));
    const asked = askedIn(suite);
    using _lock = lockFile(args.out);
    const known = keptResults(args.out);
    const opening = openingBy(args, rawArgs);
    const files = hasher({});
    using device = openFor(args, console);
    const done = await measureAll(asked, {
      device,
      ...readingBy(console),
      storage: opening.storage,
      known,
      async open(given) {
        const opened = await openOn(device, given, console, { ...opening, wanted: "policy" });
        return { ...opened, device };
      },
      async openOther(given, key) {
        const how =
          key === "reward"
            ? ({ wanted: "reward" } as const)
            : ({ wanted: "policy", storage: opening.storage } as const);
        const opened = await openOn(device, given, console, how);
        return { ...opened, device, normalisation: savedNormalisation(opened) };
      },
      hashOfFile: (path) => files.of(path),
      async hashOfModel(given, as) {
        const { base, adapters } = await locateParts(given, console, as === "subject" ? opening : {});
        return files.ofModel(base, ...adapters);
      },
      save: (done) => writeResults(args.out, { config: suite, ...done, former: known }),
    });
    print(args.json ? `${JSON.stringify(done)}\n` : `${tableOf(done).join("\n")}\n`);
    if (done.failures.length > 0) process.exitCode = 1;
  },
});

function lockFile(path: string): Disposable {
  mkdirSync(dirname(path), { recursive: true });
  const lock = tryLock(`${path}.lock`);
  if (isHeld(lock))
    throw new UserError(`${path} is in use by ${lock.text}`, { hint: "wait for it, or give another file with --out" });
  return lock;
}
