/** The two sides of a comparison as a command's options name them: models, or files of answers. */

import { z } from "zod";
import { openOn } from "../app/open";
import type { Device } from "../device/device";
import { sampling } from "../generate/sampling";
import type { Reporter } from "../log/console";
import type { Storage } from "../model/parameters";
import { isAnswerFile, type PairOptions, type Side } from "../stages/evals/paired-answers";
import { records } from "../stages/examples";
import { flagsOf } from "./flags";
import { type DeviceArgs, deviceArg, openFor, storageArg, whole } from "./options";

export const SIDE =
  "a run, a checkpoint, a model directory, a Hub name; or a .jsonl file of prompt or messages, and answer";

const recordFlags = flagsOf(z.object({ template: records.template }), { template: "template" });
const sampledFlags = flagsOf(sampling, { temperature: "temperature", seed: "seed" }, { temperature: 0 });

export const sideArgs = {
  data: {
    type: "string",
    description: "prompts, instructions or conversations (default: what A's file of answers has)",
  },
  ...recordFlags.args,
  ...sampledFlags.args,
  limit: { type: "string", default: "0", description: "only so many prompts, chosen by seed 1337; 0 for all" },
  batch: { type: "string", default: "16", description: "answers that run together" },
  "max-tokens": { type: "string", default: "64", description: "tokens of an answer at most" },
  ...storageArg,
  ...deviceArg,
} as const;

interface SideArgs extends DeviceArgs {
  readonly data?: string | undefined;
  readonly limit: string;
  readonly batch: string;
  readonly "max-tokens": string;
  readonly storage: string;
}

export interface Sides extends Disposable {
  readonly sides: readonly [Side, Side];
  readonly options: PairOptions;
  /** Opened when it is first wanted: files of answers need none. */
  device(): Device;
}

export function sidesOf(
  names: readonly [a: string, b: string],
  args: SideArgs,
  rawArgs: readonly string[],
  console: Reporter,
): Sides {
  let opened: Device | null = null;
  const device = () => {
    opened ??= openFor(args, console);
    return opened;
  };
  const storage = args.storage === "auto" ? undefined : (args.storage as Storage);
  const sideOf = (name: string): Side => ({
    name,
    open: isAnswerFile(name) ? null : () => openOn(device(), name, console, { wanted: "policy", storage }),
  });
  const [a, b] = names;
  const { temperature, seed } = sampledFlags.parse({ ...args }, rawArgs);
  return {
    sides: [sideOf(a), sideOf(b)],
    options: {
      data: args.data ?? null,
      template: recordFlags.parse({ ...args }, rawArgs).template,
      limit: whole("limit", args.limit, { least: 0 }),
      batch: whole("batch", args.batch, { most: 4096 }),
      maxTokens: whole("max-tokens", args["max-tokens"]),
      temperature,
      seed,
    },
    device,
    [Symbol.dispose]: () => opened?.[Symbol.dispose](),
  };
}
