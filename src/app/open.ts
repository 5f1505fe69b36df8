/** Opening a model by any of its names, for who writes with it or who has texts scored. */
import type { Device } from "../device/device";
import { UserError } from "../errors";
import type { Reporter } from "../log/console";
import type { Storage } from "../model/parameters";
import { locateParts, type PartsOptions } from "./locate";
import { type OpenModel, openModel } from "./model";

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
  if (opened.model.scored === (wanted === "reward")) return opened;
  opened[Symbol.dispose]();
  throw otherKind(name, wanted);
}

/** A reward model scores what is written, and a policy writes. */
function otherKind(name: string, wanted: OpenedBy["wanted"]): UserError {
  return wanted === "policy"
    ? new UserError(`${name} is a reward model, and a model that writes is wanted`, {
        hint: "dawngrad score asks reward models, and in a program openReward",
        exitCode: 2,
      })
    : new UserError(`${name} has no scalar head: it is no reward model`, {
        hint: "dawngrad reward trains one",
        exitCode: 2,
      });
}
