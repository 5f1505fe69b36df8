/** Options that several commands share, and how their values are read. */
import type { Device } from "../device/device";
import { type Opening, openDevice, type VectorChoice, vectorChoices } from "../device/open";
import { UserError } from "../errors";
import type { Reporter } from "../log/console";
import { storages } from "../model/parameters";

export const deviceArg = {
  device: {
    type: "string",
    default: "auto",
    description: "auto (a GPU, else cpu), cpu, gpu, software, or a part of an adapter's name",
  },
  threads: { type: "string", description: "threads of the CPU device (default: as many as there are cores)" },
  vectors: {
    type: "enum",
    options: [...vectorChoices] as string[],
    description: "instructions of the CPU device: auto (the best there are), native (AVX2 and FMA), wasm",
  },
} as const;

export const storageArg = {
  storage: {
    type: "enum",
    options: ["auto", ...storages] as string[],
    default: "auto",
    description:
      "how matrices are held: auto (f32, or as an adapter's base was in training), bf16 and f16 in half the memory; nf4 and int8 quantise the linear layers to 4.1 and 8 bits a weight",
  },
} as const;

export interface DeviceArgs {
  readonly device: string;
  readonly threads?: string | undefined;
  readonly vectors?: string | undefined;
}

/** What the options say of the CPU device. */
export function openingOf({ threads, vectors }: Omit<DeviceArgs, "device">): Opening {
  return {
    threads: threads === undefined ? undefined : whole("threads", threads),
    vectors: vectors as VectorChoice | undefined,
  };
}

/** Opens the device and, when `auto` found no GPU, says what it took instead. */
export function openFor(args: DeviceArgs, console: Reporter): Device {
  const device = openDevice(args.device, openingOf(args));
  const { kind, name, driver } = device.info;
  if (args.device === "auto" && kind === "cpu")
    console.note(`no GPU was found: running on the CPU (${name}, ${driver})`);
  return device;
}

/** A number from an option's text. */
export function numberOf(name: string, text: string): number {
  const value = Number(text);
  if (text.trim() === "" || Number.isNaN(value))
    throw new UserError(`--${name} is ${JSON.stringify(text)}, expected a number`, { exitCode: 2 });
  return value;
}

/** A whole number from an option's text. */
export function whole(
  name: string,
  text: string,
  { least = 1, most = Number.MAX_SAFE_INTEGER }: { readonly least?: number; readonly most?: number } = {},
): number {
  const value = numberOf(name, text);
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  const bounds = most === Number.MAX_SAFE_INTEGER ? `of at least ${least}` : `from ${least} to ${most}`;
  throw new UserError(`--${name} is ${text}, expected a whole number ${bounds}`, { exitCode: 2 });
}

/** Every value of an option that may be given more than once. citty keeps only the last. */
export function all(rawArgs: readonly string[], ...names: readonly string[]): string[] {
  const values: string[] = [];
  const end = rawArgs.indexOf("--");
  (end < 0 ? rawArgs : rawArgs.slice(0, end)).forEach((word, i) => {
    for (const name of names) {
      if (word === `--${name}`) values.push(rawArgs[i + 1] ?? "");
      else if (word.startsWith(`--${name}=`)) values.push(word.slice(name.length + 3));
    }
  });
  return values;
}
