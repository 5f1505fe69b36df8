/** A model written with its matrices quantised, and what that did to it. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Device } from "../device/device";
import { UserError } from "../errors";
import { inputSquares } from "../eval/input-squares";
import { likeness, type Read } from "../eval/likeness";
import type { Sequence } from "../eval/sequence";
import { copyModel, loadModel, openModelFiles } from "../formats/checkpoint";
import { readNormalisation, writeNormalisation } from "../formats/normalisation";
import { memory, percentages, type Reporter } from "../log/console";
import { modelOf } from "../model/model";
import type { Parameter, Parameters } from "../model/parameters";
import type { Quantisation } from "../model/quantised";
import { quantisedWords } from "../model/slab";
import { isQuantised } from "../tensor/stored";
import type { Tokenizer } from "../text/tokenizer";
import { writeTokenizer } from "../text/tokenizer";
import { expectWeightsFit } from "./fits";
import type { RunContext } from "./kind";
import { sequencesOf } from "./sequences";

export interface Quantising {
  readonly scheme: Quantisation;
  /** A file of text or records: what errors are weighted by. All count the same if absent. */
  readonly calibration?: string | undefined;
  /** A file of text or records on which both models are measured. */
  readonly data?: string | undefined;
  /** Of records. */
  readonly template: string;
}

export interface QuantisedFigures {
  readonly scheme: Quantisation;
  readonly calibrated: boolean;
  /** Bytes of the weights, as they are held in memory and in files. */
  readonly bytes: { readonly before: number; readonly after: number };
  /** How many matrices of linear layers are in the scheme, and how many tables in int8. */
  readonly matrices: number;
  readonly tables: number;
  /** What stays in f32, `*` for a layer's number. */
  readonly left: readonly string[];
  readonly measured: {
    readonly data: string;
    readonly tokens: number;
    readonly perplexity: { readonly before: number; readonly after: number };
    /** KL(before || after), nats a token. */
    readonly divergence: number;
  } | null;
}

/** In the model's folder: its figures. */
const FIGURES = "quantization.json";

/** Writes the model of the folder `from` into the new folder `out`. Throws a UserError where it is quantised already. */
export async function writeQuantised(
  device: Device,
  { from, out, tokenizer }: { readonly from: string; readonly out: string; readonly tokenizer: Tokenizer },
  { scheme, calibration, data, template }: Quantising,
  { console, find }: Pick<RunContext, "console" | "find">,
): Promise<QuantisedFigures> {
  using stored = await openModelFiles(from);
  const { config } = stored.model;
  if (config.quantised)
    throw new UserError(`${from} is quantised already, in ${config.quantised}`, {
      hint: "take the model that it was made of",
      exitCode: 2,
    });
  const model = modelOf({ ...config, quantised: scheme });
  const sequences = async (path: string | undefined) =>
    path === undefined ? null : sequencesOf(path, { tokenizer, template, context: config.context, console, find });
  // Read first: what is wrong with them is said before any work.
  const [measured, calibrating] = [await sequences(data), await sequences(calibration)];
  const needed = measured || calibrating;
  if (needed) expectWeightsFit(device, config, stored.model.parameters);
  using weights = needed ? stored.load(device) : null;
  const original = weights && { model: stored.model, slabs: [weights] };
  const squares =
    original && calibrating
      ? await inputSquares({ device, ...original }, calibrating, percentages(console, `calibrating by ${calibration}`))
      : null;
  mkdirSync(out);
  let done = 0;
  const progress = percentages(console, "quantising");
  const words = (parameter: Parameter) => {
    progress(done++, model.parameters.list.length);
    const counts = squares?.get(parameter.name.replace(/\.weight$/, ""));
    return quantisedWords(parameter, stored.values(parameter), counts);
  };
  await copyModel(out, { model, values: stored.values, words }, tokenizer);
  await writeTokenizer(out, tokenizer.files);
  const normalisation = readNormalisation(from);
  if (normalisation) writeNormalisation(out, normalisation);
  const figures = {
    scheme,
    calibrated: calibration !== undefined,
    bytes: { before: stored.model.parameters.bytes, after: model.parameters.bytes },
    ...heldIn(model.parameters),
    measured:
      original && measured && (await compared(device, original, { out, name: data!, sequences: measured }, console)),
  };
  console.done();
  writeFileSync(join(out, FIGURES), `${JSON.stringify(figures, null, 2)}\n`);
  return figures;
}

async function compared(
  device: Device,
  original: Read,
  { out, name, sequences }: { readonly out: string; readonly name: string; readonly sequences: readonly Sequence[] },
  console: Reporter,
): Promise<QuantisedFigures["measured"]> {
  const { model, weights } = await loadModel(device, out);
  using own = weights;
  const onProgress = percentages(console, `measuring on ${name}`);
  const { tokens, nats, divergence } = await likeness(device, original, { model, slabs: [own] }, sequences, onProgress);
  return {
    data: name,
    tokens,
    perplexity: { before: Math.exp(nats.original / tokens), after: Math.exp(nats.other / tokens) },
    divergence: divergence / tokens,
  };
}

function heldIn({ list }: Parameters): Pick<QuantisedFigures, "matrices" | "tables" | "left"> {
  const count = (wanted: Parameter["role"]) => list.filter(({ role }) => role === wanted).length;
  const plain = list.filter(({ tensor }) => !isQuantised(tensor.dtype));
  const left = new Set(plain.map(({ name }) => name.replace(/\.\d+\./, ".*.")));
  return { matrices: count("linear"), tables: count("table"), left: [...left] };
}

/** For people, a line each. */
export function quantisedLines({
  scheme,
  calibrated,
  bytes,
  matrices,
  tables,
  left,
  measured,
}: QuantisedFigures): string[] {
  const share = bytes.after / bytes.before;
  const table = tables === 1 ? "the table" : `${tables} tables`;
  return [
    `${matrices} matrices in ${scheme}, ${table} in int8${calibrated ? ", errors weighted by the calibration" : ""}; in f32 stay ${left.join(", ")}`,
    `size         ${memory(bytes.before)} -> ${memory(bytes.after)}  (${share.toFixed(3)} of it)`,
    ...(measured
      ? [
          `perplexity   ${measured.perplexity.before.toFixed(4)} -> ${measured.perplexity.after.toFixed(4)}  (${signed(measured.perplexity.after / measured.perplexity.before - 1)}; ${measured.tokens} tokens of ${measured.data})`,
          `divergence   ${measured.divergence.toExponential(2)} nats a token  (KL to the original)`,
        ]
      : []),
  ];
}

function signed(share: number): string {
  return `${share < 0 ? "-" : "+"}${Math.abs(100 * share).toFixed(3)}%`;
}
