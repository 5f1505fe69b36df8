/** Slabs in files: which tensor of a file is which weight, and their values part by part. What cannot be computed with is refused by name. */
import type { Device } from "../device/device";
import { UserError } from "../errors";
import type { Parameter, Parameters } from "../model/parameters";
import { Slab } from "../model/slab";
import { sizeOf } from "../tensor/shape";
import { isQuantised } from "../tensor/stored";
import { type NamedValues, openSafetensors } from "./safetensors";
import type { StoredTensor } from "./weights-files";

/** What a weight is called in a file: the first name is written, all are read. */
export type Names = (name: string) => readonly [string, ...string[]];

/** All under one prefix, such as an optimizer's moments. */
export const prefixed =
  (prefix: string): Names =>
  (name) => [prefix + name];

/** As they are. */
export const asNamed: Names = (name) => [name];

export const OTHER_MODEL = "the checkpoint is of another model";

/** Loads a slab from one file, such as an optimizer's moments. */
export function readSlab(path: string, slab: Slab, names: Names): void {
  using file = openSafetensors(path);
  const stored = new Map([...file.tensors].map(([name, info]) => [name, { info, file }]));
  readInto(slab, slab.parameters.list, expectTensors(stored, path, slab.parameters.list, names));
}

/** Where each parameter stands in the files. */
export function expectTensors(
  stored: ReadonlyMap<string, StoredTensor>,
  where: string,
  parameters: readonly Parameter[],
  names: Names,
  other = OTHER_MODEL,
): StoredTensor[] {
  return parameters.map((p) => {
    const name = names(p.name).find((name) => stored.has(name));
    const found = name === undefined ? undefined : stored.get(name);
    if (!found) {
      throw new UserError(`${where} has no tensor ${p.name} [${p.shape}]`, {
        hint: "its config.json describes another model",
      });
    }
    const { shape } = found.info;
    if (shape.join() !== p.shape.join()) {
      const turned = shape.toReversed().join() === p.shape.join();
      throw new UserError(`${where}: ${p.name} has shape [${shape}], expected [${p.shape}]`, {
        hint: turned ? "its linear layers are stored [out, in]; GPT-2's are [in, out]" : other,
      });
    }
    return found;
  });
}

/** Elements that are read at a time. */
export const PART = 1 << 20;

/** The tensor's values part by part, in an array that is used again. */
export function* partsOf({ info, file }: StoredTensor, most = PART): Generator<[part: Float32Array, first: number]> {
  const size = sizeOf(info.shape);
  const buffer = new Float32Array(Math.min(most, size));
  for (let first = 0; first < size; first += most) {
    const part = buffer.subarray(0, Math.min(most, size - first));
    file.read(info, part, first);
    yield [part, first];
  }
}

/** A slab with these tensors' values in it. */
export function loadSlab(device: Device, parameters: Parameters, found: readonly StoredTensor[]): Slab {
  const slab = new Slab(device, parameters);
  try {
    readInto(slab, parameters.list, found);
  } catch (error) {
    slab[Symbol.dispose]();
    throw error;
  }
  return slab;
}

/** Puts tensors where the slab wants them, each for one of these parameters. */
export function readInto(slab: Slab, parameters: readonly Parameter[], found: readonly StoredTensor[]): void {
  parameters.forEach((parameter, i) => {
    const quantised = isQuantised(parameter.tensor.dtype);
    for (const [part, first] of partsOf(found[i]!, quantised ? parameter.size : PART)) {
      expectUsable(part, found[i]!.info.name, first);
      slab.write(parameter, part, first);
    }
  });
}

/** Of a value that is larger, the square is past what float32 holds: a layer's first norm or product would be infinite. */
export const LARGEST = 2 ** 63;

/** NaN, infinity, and what would become that in the first layer are refused by name. */
export function expectUsable(values: Float32Array, name: string, first = 0): void {
  const bad = values.findIndex((v) => !(Math.abs(v) <= LARGEST));
  if (bad < 0) return;
  throw new UserError(`${name} has ${values[bad]} at element ${first + bad}`, {
    hint: "the checkpoint was saved after training had failed, or is damaged",
  });
}

/** A whole tensor, checked. */
export function valuesOf({ info, file }: StoredTensor): Float32Array {
  const values = new Float32Array(sizeOf(info.shape));
  file.read(info, values);
  expectUsable(values, info.name);
  return values;
}

/** A slab as named tensors, for writing. Values are fetched from the device when their turn comes. */
export function namedValues(slab: Slab, names: Names): NamedValues[] {
  return slab.parameters.list.map((parameter) => ({
    name: names(parameter.name)[0],
    shape: parameter.shape,
    values: () => slab.read(parameter),
  }));
}
