/**
 * Quantised matrices in a model directory: config.json says the scheme, and each matrix is several tensors, its words (tensor/stored.ts)
 * in their own order. `NAME.codes` of int8 is I8 [in / 4, out, 4], of int4 U8 [in / 8, out, 4] with two codes a byte, the first in the
 * low bits; both rounded up. Of nf4 it is U8 [count / 2]. The other tensors are its scales.
 */
import { z } from "zod";
import { shown, UserError } from "../errors";
import type { ModelConfig } from "../model/architecture";
import type { Parameter } from "../model/parameters";
import { type Quantisation, quantisations } from "../model/quantised";
import { type Shape, sizeOf } from "../tensor/shape";
import { GROUP, int4Layout, int8Layout, isQuantised, NESTED, nf4Layout, wordsOf } from "../tensor/stored";
import { elementBytes, type NamedValues } from "./safetensors";
import type { Names } from "./slabs";
import type { StoredTensor, WeightsFiles } from "./weights-files";

/** How config.json calls what this program makes. */
const METHOD = "dawngrad";

const schema = z.object({
  quant_method: z.literal(METHOD),
  scheme: z.enum(quantisations as [Quantisation, ...Quantisation[]]),
  group_size: z.int().optional(),
});

/** What config.json says of its model's matrices; null where they are as they are. Throws a UserError for what is not read. */
export function quantisationIn(json: Readonly<Record<string, unknown>>, path: string): Quantisation | null {
  const said = json.quantization_config;
  if (said == null) return null;
  const { data } = schema.safeParse(said);
  const group = data?.group_size ?? GROUP;
  if (data && group === GROUP) return data.scheme;
  const { quant_method: method, scheme } = said as { readonly quant_method?: unknown; readonly scheme?: unknown };
  const what = method === METHOD ? `scheme ${shown(scheme)}, group_size ${shown(group)}` : `by ${shown(method)}`;
  throw new UserError(`${path}: the model is quantised, ${what}, which is not read`, {
    hint: "take the model that it was made of, and quantise it with dawngrad quantize",
  });
}

export function quantizationConfig({ quantised: scheme }: ModelConfig): Record<string, unknown> {
  if (!scheme) return {};
  return {
    quantization_config: {
      quant_method: METHOD,
      scheme,
      ...(scheme === "int8" ? {} : { group_size: GROUP }),
      tables: "int8",
    },
  };
}

interface Part {
  /** What stands behind the matrix's name. */
  readonly suffix: string;
  readonly dtype: string;
  readonly shape: Shape;
  /** Where it begins in the words, in bytes. */
  readonly at: number;
}

/** The tensors that a matrix [rows, columns] is in a file. */
function partsOf(shape: Shape, kind: Quantisation): Part[] {
  const [rows = 0, columns = 0] = shape;
  if (kind === "int8") {
    const { scales } = int8Layout(rows, columns);
    return [
      { suffix: "codes", dtype: "I8", shape: [Math.ceil(columns / 4), rows, 4], at: 0 },
      { suffix: "scales", dtype: "F32", shape: [rows], at: 4 * scales },
    ];
  }
  if (kind === "int4") {
    const { groups, scales, least } = int4Layout(rows, columns);
    return [
      { suffix: "codes", dtype: "U8", shape: [Math.ceil(columns / 8), rows, 4], at: 0 },
      { suffix: "scales", dtype: "F16", shape: [groups, rows], at: 4 * scales },
      { suffix: "least", dtype: "F16", shape: [groups, rows], at: 4 * least },
    ];
  }
  const { blocks, scales, map, scaleMap, nested, offset } = nf4Layout(sizeOf(shape));
  return [
    { suffix: "codes", dtype: "U8", shape: [Math.ceil(sizeOf(shape) / 2)], at: 0 },
    { suffix: "absmax", dtype: "U8", shape: [blocks], at: 4 * scales },
    { suffix: "quant_map", dtype: "F32", shape: [16], at: 4 * map },
    { suffix: "nested_quant_map", dtype: "F32", shape: [256], at: 4 * scaleMap },
    { suffix: "nested_absmax", dtype: "F32", shape: [Math.ceil(blocks / NESTED)], at: 4 * nested },
    { suffix: "offset", dtype: "F32", shape: [1], at: 4 * offset },
  ];
}

const quantisedParts = ({ tensor: { shape, dtype } }: Parameter): Part[] =>
  isQuantised(dtype) ? partsOf(shape, dtype) : [];

/** A quantised parameter's tensors for writing: its words are asked for when their turn comes. */
export function namedParts(parameter: Parameter, names: Names, words: () => Uint32Array): NamedValues[] {
  let all: Uint32Array | null = null;
  const parts = quantisedParts(parameter);
  return parts.map(({ suffix, dtype, shape, at }, i) => ({
    name: `${names(parameter.name)[0]}.${suffix}`,
    dtype,
    shape,
    values() {
      const own = all ?? words();
      all = i < parts.length - 1 ? own : null;
      return new Uint8Array(own.buffer, own.byteOffset + at, sizeOf(shape) * elementBytes(dtype));
    },
  }));
}

/** Where a quantised parameter's tensors stand in the files. Throws a UserError where one is missing or is another. */
export function expectParts(
  { tensors }: Pick<WeightsFiles, "tensors">,
  where: string,
  parameter: Parameter,
  names: Names,
): StoredTensor[] {
  return quantisedParts(parameter).map(({ suffix, dtype, shape }) => {
    const found = names(parameter.name)
      .map((name) => tensors.get(`${name}.${suffix}`))
      .find((one) => one !== undefined);
    const wanted = `${parameter.name}.${suffix}`;
    if (!found)
      throw new UserError(`${where} has no tensor ${wanted} [${shape}]`, {
        hint: "its config.json says that it is quantised otherwise",
      });
    const { info } = found;
    if (info.dtype !== dtype || info.shape.join() !== shape.join())
      throw new UserError(`${where}: ${wanted} is ${info.dtype} [${info.shape}], expected ${dtype} [${shape}]`, {
        hint: "its config.json describes another model",
      });
    return found;
  });
}

/** The words of a quantised parameter from the tensors that `expectParts` found. */
export function readWords(parameter: Parameter, found: readonly StoredTensor[]): Uint32Array<ArrayBuffer> {
  const { shape, dtype } = parameter.tensor;
  const words = new Uint32Array(wordsOf(shape, dtype));
  for (const [i, part] of quantisedParts(parameter).entries()) {
    const { info, file } = found[i]!;
    const size = sizeOf(part.shape);
    file.readBytes(info, new Uint8Array(words.buffer, part.at, size * elementBytes(part.dtype)));
    if (part.dtype === "F32") expectScales(new Float32Array(words.buffer, part.at, size), info.name);
    if (part.dtype === "F16") expectScales(new Float16Array(words.buffer, part.at, size), info.name);
  }
  return words;
}

function expectScales(values: Float32Array | Float16Array, name: string): void {
  const bad = values.findIndex((v) => !Number.isFinite(v));
  if (bad < 0) return;
  throw new UserError(`${name} has ${values[bad]} at element ${bad}`, {
    hint: "the file is damaged: quantise the model again",
  });
}
