import { defineCommand } from "citty";
import { benchmark } from "../app/bench";
import { openConsole } from "../log/console";
import { deviceArg, numberOf, openFor } from "./options";

/** `dawngrad bench`: how fast this device is, by kernel and for whole steps. */
export default defineCommand({
  meta: { name: "bench", description: "measures kernels, dispatches, training and decoding" },
  args: {
    ...deviceArg,
    json: { type: "boolean", description: "prints one JSON object" },
    profile: { type: "boolean", description: "shows where the time of a training step goes, by kernel" },
    soak: {
      type: "string",
      default: "0",
      description: "replays a training step this many times and says how memory grows",
    },
  },
  run({ args }) {
    const console = openConsole();
    using device = openFor(args.device, console);
    const rows = benchmark(device, { profile: args.profile ?? false, soak: numberOf("soak", args.soak) });
    if (args.json) {
      process.stdout.write(
        `${JSON.stringify({ device: device.info.name, driver: device.info.driver, results: [...rows] })}\n`,
      );
      return;
    }
    process.stdout.write(`${device.info.name}, ${device.info.driver}\n`);
    for (const { name, value, unit } of rows)
      process.stdout.write(`${name.padEnd(44)} ${format(value).padStart(10)} ${unit}\n`);
  },
});

function format(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toFixed(2);
}
