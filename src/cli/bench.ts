/** `dawngrad bench`: how fast the devices of this machine are, by kernel and for whole steps. */
import { defineCommand } from "citty";
import { benchmark, type Measurement } from "../app/bench";
import type { Device, DeviceInfo } from "../device/device";
import { cpuDevice, listAdapters, wantedBy } from "../device/list";
import { openDevice, type VectorChoice, vectorChoices } from "../device/open";
import { UserError } from "../errors";
import { openConsole } from "../log/console";
import { deviceArg, openingOf, whole } from "./options";
import { print } from "./print";

export default defineCommand({
  meta: { name: "bench", description: "measures kernels, training and decoding on every device, side by side" },
  args: {
    ...deviceArg,
    device: {
      type: "string",
      default: "all",
      description: "all, or one: auto, cpu, gpu, software, or a part of a name",
    },
    against: {
      type: "enum",
      options: [...vectorChoices] as string[],
      description: "measures the CPU device alone, with --vectors and with these in turn, and prints the ratio",
    },
    only: { type: "string", description: "only what has this in its name" },
    json: { type: "boolean", description: "prints one JSON object" },
    profile: { type: "boolean", description: "shows where the time of a training step goes, by kernel" },
    soak: {
      type: "string",
      default: "0",
      description: "replays a training step this many times and says how memory grows",
    },
  },
  async run({ args }) {
    const console = openConsole();
    const soak = whole("soak", args.soak, { least: 0 });
    const options = { profile: args.profile ?? false, soak, only: args.only };
    const opening = openingOf(args);
    const measure = async (devices: readonly Device[]): Promise<Column[]> => {
      const columns = devices.map(({ info }) => ({ device: info, results: [] as Result[] }));
      for await (const { name, unit, values } of benchmark(devices, options)) {
        console.status(`${devices[0]!.info.name} (${devices[0]!.info.kind}): ${name.trim()}`);
        values.forEach((value, i) => {
          if (value !== undefined) columns[i]!.results.push({ name, unit, value });
        });
      }
      return columns;
    };
    const columns: Column[] = [];
    if (args.against) {
      if (!["all", "cpu"].includes(args.device.toLowerCase())) {
        throw new UserError("--against is for the CPU device", {
          hint: "give --device cpu, or leave one of them out",
          exitCode: 2,
        });
      }
      using device = openDevice("cpu", opening);
      using other = openDevice("cpu", { ...opening, vectors: args.against as VectorChoice });
      columns.push(...(await measure([device, other])));
    } else {
      const wanted = args.device === "all" ? everyDevice() : [args.device];
      for (const name of wanted) {
        using device = openDevice(name, name === "cpu" || args.device !== "all" ? opening : {});
        columns.push(...(await measure([device])));
      }
    }
    console.done();
    print(args.json ? `${JSON.stringify(columns)}\n` : asTable(columns, args.against !== undefined));
  },
});

interface Result extends Omit<Measurement, "values"> {
  readonly value: number;
}

interface Column {
  readonly device: DeviceInfo;
  readonly results: readonly Result[];
}

function everyDevice(): string[] {
  let adapters: DeviceInfo[] = [];
  try {
    adapters = listAdapters();
  } catch (error) {
    if (!(error instanceof UserError)) throw error; // no WebGPU: `doctor` says why
  }
  return [...adapters, cpuDevice()].map(wantedBy);
}

/** A row a measurement, a column a device; with a ratio where there are two that were measured in turn. */
function asTable(columns: readonly Column[], inTurn: boolean): string {
  const measured = ({ results }: Column, name: string) => results.find((result) => result.name === name)?.value;
  // The device that could measure most says the order.
  const fullest = columns.toSorted((a, b) => b.results.length - a.results.length);
  const units = new Map(fullest.flatMap(({ results }) => results.map(({ name, unit }) => [name, unit] as const)));
  const heads = columns.map(({ device }) => (inTurn ? device.driver.split(",")[0]! : device.kind));
  const wide = Math.max(12, ...heads.map((head) => head.length + 2));
  const cells = (values: readonly string[]) => values.map((value) => value.padStart(wide)).join("");
  return [
    ...columns.map(({ device }) => `${device.kind}: ${device.name}, ${device.driver}`),
    `${"".padEnd(46)}${cells(heads)}`,
    ...[...units].map(([name, unit]) => {
      const values = columns.map((column) => measured(column, name));
      return `${name.padEnd(46)}${cells(values.map(format))} ${unit}${inTurn ? ratioOf(values, unit) : ""}`;
    }),
    "",
  ].join("\n");
}

/** How many times as fast the first is. */
function ratioOf([first, second]: readonly (number | undefined)[], unit: string): string {
  if (first === undefined || second === undefined) return "";
  const ratio = unit.endsWith("/s") ? first / second : second / first;
  return `, ratio ${ratio.toFixed(2)}`;
}

function format(value: number | undefined): string {
  if (value === undefined) return "-";
  return value >= 100 ? value.toFixed(0) : value.toFixed(2);
}
