/** Opening the model that a command's options name. */
import type { OpenModel } from "../app/model";
import { type OpenedBy, openOn } from "../app/open";
import type { Device } from "../device/device";
import type { Reporter } from "../log/console";
import type { Storage } from "../model/parameters";
import { all, deviceArg, openFor, storageArg } from "./options";

export const modelArgs = {
  adapter: {
    type: "string",
    repeated: true,
    description: "an adapter on top of the model: a folder, or a Hub name; may be repeated",
  },
  "base-only": { type: "boolean", description: "leaves out the model's own adapter" },
  ...storageArg,
  ...deviceArg,
} as const;

interface Args {
  readonly model: string;
  readonly storage: string;
  readonly device: string;
  readonly threads?: string | undefined;
  readonly vectors?: string | undefined;
  readonly "base-only"?: boolean | undefined;
}

export interface Opened extends OpenModel {
  readonly device: Device;
}

/** What the options say of the model. */
export function openingBy(args: Omit<Args, "model">, rawArgs: readonly string[]): Omit<OpenedBy, "wanted"> {
  return {
    adapters: all(rawArgs, "adapter"),
    baseOnly: args["base-only"] === true,
    storage: args.storage === "auto" ? undefined : (args.storage as Storage),
  };
}

export async function openFromArgs(
  args: Args,
  rawArgs: readonly string[],
  console: Reporter,
  wanted: "policy" | "reward" = "policy",
): Promise<Opened> {
  const device = openFor(args, console);
  try {
    const opened = await openOn(device, args.model, console, { ...openingBy(args, rawArgs), wanted });
    return {
      ...opened,
      device,
      [Symbol.dispose]() {
        opened[Symbol.dispose]();
        device[Symbol.dispose]();
      },
    };
  } catch (error) {
    device[Symbol.dispose]();
    throw error;
  }
}
