/** `dawngrad bench`: how fast the devices of this machine are, by kernel and for whole steps. */
import { defineCommand } from "citty";
import { benchmark, type Measurement } from "../app/bench";
import type { DeviceInfo } from "../device/device";
import { cpuDevice, listAdapters, wantedBy } from "../device/list";
import { openDevice } from "../device/open";
import { UserError } from "../errors";
import { openConsole } from "../log/console";
import { deviceArg, threadsOf, whole } from "./options";
import { print } from "./print";

interface Column {
  readonly device: DeviceInfo;
  readonly results: readonly Measurement[];
}

export default defineCommand({
  meta: { name: "bench", description: "measures kernels, training and decoding on every device, side by side" },
  args: {
    ...deviceArg,
    device: {
      type: "string",
      default: "all",
      description: "all, or one: auto, cpu, gpu, software, or a part of a name",
    },
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
    const options = { profile: args.profile ?? false, soak: whole("soak", args.soak, { least: 0 }) };
    const wanted = args.device === "all" ? everyDevice() : [args.device];
    const columns = wanted.map((name): Column => {
      const threads = name === "cpu" || args.device !== "all" ? threadsOf(args) : undefined;
      using device = openDevice(name, { threads });
      const results: Measurement[] = [];
      for (const result of benchmark(device, options)) {
        console.status(`${device.info.name} (${device.info.kind}): ${result.name.trim()}`);
        results.push(result);
      }
      return { device: device.info, results };
    });
    console.done();
    print(args.json ? `${JSON.stringify(columns)}\n` : asTable(columns));
  },
});

function everyDevice(): string[] {
  let adapters: DeviceInfo[] = [];
  try {
    adapters = listAdapters();
  } catch (error) {
    if (!(error instanceof UserError)) throw error; // no WebGPU: `doctor` says why
  }
  return [...adapters, cpuDevice()].map(wantedBy);
}

/** A row a measurement, a column a device. */
function asTable(columns: readonly Column[]): string {
  const measured = ({ results }: Column, name: string) => results.find((result) => result.name === name)?.value;
  // The device that could measure most says the order.
  const fullest = columns.toSorted((a, b) => b.results.length - a.results.length);
  const units = new Map(fullest.flatMap(({ results }) => results.map(({ name, unit }) => [name, unit] as const)));
  const wide = Math.max(12, ...columns.map(({ device }) => device.kind.length + 2));
  const cells = (values: readonly string[]) => values.map((value) => value.padStart(wide)).join("");
  return [
    ...columns.map(({ device }) => `${device.kind}: ${device.name}, ${device.driver}`),
    `${"".padEnd(46)}${cells(columns.map(({ device }) => device.kind))}`,
    ...[...units].map(
      ([name, unit]) => `${name.padEnd(46)}${cells(columns.map((column) => format(measured(column, name))))} ${unit}`,
    ),
    "",
  ].join("\n");
}

function format(value: number | undefined): string {
  if (value === undefined) return "-";
  return value >= 100 ? value.toFixed(0) : value.toFixed(2);
}
