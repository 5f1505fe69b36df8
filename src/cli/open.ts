/** Opening the model that a command's options name. */
import { locateParts, type PartsOptions } from "../app/locate";
import { type OpenModel, openModel } from "../app/model";
import type { Device } from "../device/device";
import { UserError } from "../errors";
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

export interface OpenedBy extends PartsOptions {
  readonly wanted: "policy" | "reward";
  /** As it was in training, if absent. */
  readonly storage?: Storage | undefined;
}

/** A model on a device that is open. */
export async function openOn(
  device: Device,
  name: string,
  console: Reporter,
  { wanted, storage, ...more }: OpenedBy,
): Promise<OpenModel> {
  const opened = await openModel(device, await locateParts(name, console, more), storage);
  try {
    expectKind(opened, name, wanted);
    return opened;
  } catch (error) {
    opened[Symbol.dispose]();
    throw error;
  }
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

/** A reward model scores what is written, and a policy writes. */
function expectKind(opened: OpenModel, name: string, wanted: "policy" | "reward"): void {
  const { scored } = opened.model;
  if (scored === (wanted === "reward")) return;
  opened[Symbol.dispose]();
  throw scored
    ? new UserError(`${name} is a reward model, and a model that writes is wanted`, {
        hint: "dawngrad score asks reward models",
        exitCode: 2,
      })
    : new UserError(`${name} has no scalar head: it is no reward model`, {
        hint: "dawngrad reward trains one",
        exitCode: 2,
      });
}
