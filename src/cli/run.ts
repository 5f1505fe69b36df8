/** `dawngrad run CONFIG`: the stages of a config file, in order. */
import { defineCommand } from "citty";
import { besideOf } from "../app/beside";
import { runFolder } from "../app/config";
import { readConfigFile } from "../app/config-file";
import { planOf } from "../app/plan";
import { UserError } from "../errors";
import { openConsole } from "../log/console";
import { all, deviceArg } from "./options";
import { print } from "./print";
import { startRun } from "./start";

export default defineCommand({
  meta: { name: "run", description: "runs the stages of a config file; run again, it goes on where it was" },
  args: {
    config: {
      type: "positional",
      required: true,
      description: "a TOML file, or one inside the program such as configs/demo.toml",
    },
    set: {
      type: "string",
      repeated: true,
      description: "overrides a value, such as --set stage.0.optim.lr=1e-4; may be repeated",
    },
    out: { type: "string", description: "the run's folder (default: runs/NAME)" },
    plan: { type: "boolean", description: "shows the stages, their state, sizes and memory, and runs nothing" },
    from: { type: "string", excludes: ["only"], description: "runs only this stage and what stands on it" },
    only: {
      type: "string",
      repeated: true,
      description: "runs only these stages, such as sft or sft,merge; may be repeated",
    },
    fresh: { type: "boolean", description: "removes the old results of the stages that are run, and begins them anew" },
    "keep-going": { type: "boolean", description: "a stage that fails stops only what stands on it" },
    ...deviceArg,
  },
  async run({ args, rawArgs }) {
    const config = await readConfigFile(args.config, all(rawArgs, "set"));
    const beside = besideOf(args.config);
    const only = all(rawArgs, "only").flatMap((names) => names.split(","));
    const choice = {
      from: args.from,
      ...(only.length && { only }),
      fresh: args.fresh === true,
      keepGoing: args["keep-going"] === true,
    };
    if (args.plan) {
      const directory = args.out ?? runFolder(config);
      const { text, unready } = await planOf(config, { directory, console: openConsole(), choice, beside });
      print(text);
      if (unready.length === 0 || choice.keepGoing) return;
      throw new UserError(`${unready.join(", ")} cannot be run`, {
        hint: "the plan says why; run first what they stand on, or leave out --from and --only",
        exitCode: 2,
      });
    }
    await startRun(config, { ...args, choice, beside });
  },
});
