import { defineCommand } from "citty";
import { readConfigFile } from "../app/config";
import { planText } from "../app/plan-text";
import { openConsole } from "../log/console";
import { all, deviceArg } from "./options";
import { startRun } from "./start";

/** `dawngrad run CONFIG`: the stages of a config file, in order. */
export default defineCommand({
  meta: { name: "run", description: "runs the stages of a config file; run again, it goes on where it was" },
  args: {
    config: {
      type: "positional",
      required: true,
      description: "a TOML file, or one inside the program such as configs/demo.toml",
    },
    set: { type: "string", description: "overrides a value, such as --set stage.0.optim.lr=1e-4; may be repeated" },
    out: { type: "string", description: "the run's folder (default: runs/NAME)" },
    plan: { type: "boolean", description: "shows what would run, with sizes and memory, and runs nothing" },
    ...deviceArg,
  },
  async run({ args, rawArgs }) {
    const config = await readConfigFile(args.config, all(rawArgs, "set"));
    if (args.plan) {
      process.stdout.write(await planText(config, openConsole()));
      return;
    }
    await startRun(config, args);
  },
});
