/** Every architecture that there is. */
import { shown, UserError } from "../errors";
import type { Architecture } from "./architecture";
import { gpt2 } from "./gpt2";

const all: readonly Architecture[] = [gpt2];

/** Named sizes of all architectures. */
export const presets: Readonly<Record<string, Architecture["presets"][string]>> = Object.fromEntries(
  all.flatMap(({ presets }) => Object.entries(presets)),
);

/** By `model_type`. Throws a UserError that begins with `where`. */
export function architectureOf(type: unknown, where: string): Architecture {
  const found = all.find((architecture) => architecture.type === type);
  if (found) return found;
  const known = all.map(({ type }) => JSON.stringify(type)).join(", ");
  throw new UserError(
    `${where}: model_type is ${shown(type)}, ${all.length === 1 ? `only ${known} is` : `supported: ${known}`}${all.length === 1 ? " supported" : ""}`,
  );
}
