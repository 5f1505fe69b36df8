/** Adapters by name over one base: models of their own that share its weights. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Device } from "../device/device";
import { UserError } from "../errors";
import { baseHashOf, openAdapter } from "../formats/peft";
import { weightsHash } from "../formats/weights-files";
import type { Reporter } from "../log/console";
import { type Model, withAdapters } from "../model/model";
import type { Slab } from "../model/slab";
import { loadTokenizer, type Tokenizer } from "../text/tokenizer";
import { locateModel } from "./locate";
import { expectRows, isAdapter, type OpenModel } from "./model";

export interface NamedAdapter extends Disposable {
  readonly name: string;
  readonly model: Model;
  readonly slabs: readonly Slab[];
  /** Its own, with the template that it was trained with, or the base's. */
  readonly tokenizer: Tokenizer;
}

/** Opens one over a base. Throws a UserError where it is none, or for other weights. */
export async function openNamed(
  device: Device,
  base: Pick<OpenModel, "model" | "weights" | "tokenizer" | "parts">,
  { name, path }: { readonly name: string; readonly path: string },
  console: Reporter,
): Promise<NamedAdapter> {
  const directory = await locateModel(path, console);
  if (!isAdapter(directory))
    throw new UserError(`${path} is not an adapter`, { hint: "it has no adapter_config.json", exitCode: 2 });
  const trainedOn = baseHashOf(directory);
  if (trainedOn !== null && trainedOn !== weightsHash(base.parts.base))
    throw new UserError(`${path} was trained on other weights than those of ${base.parts.base}`, {
      hint: "serve it over the model that it was trained on",
    });
  using files = openAdapter(directory, base.model);
  const own = existsSync(join(directory, "tokenizer.json"));
  const tokenizer = own ? await loadTokenizer(directory) : base.tokenizer;
  expectRows(base.model, tokenizer, directory);
  const slab = files.load(device);
  return {
    name,
    model: withAdapters(base.model, [files.adapter]),
    slabs: [base.weights, slab],
    tokenizer,
    [Symbol.dispose]: () => slab[Symbol.dispose](),
  };
}
