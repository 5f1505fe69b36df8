/**
 * What a training step asks of a GPU, counted from its recordings and its WGSL, and what that comes to on paper. It needs no adapter:
 *   sh scripts/with-bun.sh scripts/roofline.ts [PRESET ROWS TOKENS]
 */
import { trainingStep } from "../src/app/training-step";
import type { Device, DeviceBuffer, Dispatch, Slice, Traits } from "../src/device/device";
import { fuse } from "../src/device/webgpu/fuse";
import { specialize } from "../src/device/webgpu/pipelines";

const [preset = "gpt2", rows = "4", tokens = "1024"] = process.argv.slice(2);

const traits: Traits = {
  software: false,
  subgroupSize: 0,
  workgroupBytes: 32768,
  invocations: 256,
  f16: false,
  maxBindingBytes: 2 ** 31 - 4,
  maxBufferBytes: 2 ** 40,
};

/** The makers' figures: TFLOP/s in float32 without tensor cores, TB/s. */
const cards = [
  { name: "H100 SXM", flops: 67e12, bytes: 3.35e12 },
  { name: "H200", flops: 67e12, bytes: 4.8e12 },
  { name: "RTX 4090", flops: 82.6e12, bytes: 1.01e12 },
  { name: "M4 Max, 40 cores", flops: 17e12, bytes: 0.546e12 },
  { name: "Radeon 780M, an integrated GPU", flops: 4.1e12, bytes: 0.09e12 },
];

/** Keeps what is recorded, and holds nothing. */
function countingDevice(kept: Dispatch[]): Device {
  return {
    info: { name: "paper", driver: "", kind: "hardware", backend: "", arithmetic: "", features: [], limits: {} },
    traits,
    freeBytes: () => null,
    allocate: (sizeBytes) => ({ sizeBytes, free() {} }),
    upload() {},
    download() {},
    compile() {},
    record(given) {
      const dispatches = fuse(given);
      return { dispatches: dispatches.length, replay: () => void kept.push(...dispatches), [Symbol.dispose]() {} };
    },
    wait() {},
    profile: () => null,
    [Symbol.dispose]() {},
  };
}

interface Work {
  count: number;
  flops: number;
  bytes: number;
  least: number;
  most: number;
  readonly kernel: Dispatch["kernel"];
}

/** Multiply-adds counted twice; of attention those that causality asks for. What is not a product has few, and is bound by memory. */
function flopsOf({ kernel: { name, entry }, params, workgroups }: Dispatch): number {
  const { rows = 0, columns = 0, inner = 0, tokens = 0, scale = 1 } = params;
  if (["matmul", "matmul-tile", "matvec"].includes(name)) return 2 * rows * columns * inner;
  if (!["attention", "attention-tile"].includes(name)) return 0;
  const products = { forward: 2, backward_query: 3, backward_key: 4, backward: 7 }[entry] ?? 0;
  return (products * 2 * workgroups[1] * tokens ** 2 * scale ** -2) / 2;
}

/** Each binding once, the output once more where it is added to. A lower bound: a tile reads its operands again. */
function bytesOf({ output, inputs, kernel }: Dispatch): number {
  const accumulates = kernel.constants?.ACCUMULATE || kernel.entry === "accumulate";
  const read = inputs.filter((_, i) => !isIdle(kernel, i));
  return [output, ...(accumulates ? [output] : []), ...read].reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}

/** Products bind something in place of a bias and of another tensor where they have none. */
function isIdle({ name, constants = {} }: Dispatch["kernel"], input: number): boolean {
  const bias = { "matmul-tile": 2, matvec: 2, "matmul-sum": 1 }[name];
  if (bias === undefined) return false;
  return (input === bias && !constants.BIAS) || (input === bias + 1 && !constants.PLUS && !constants.TIMES_GELU);
}

/** Where Dawn waits: before a dispatch that binds a buffer which was written since the last wait, or writes one that was read. */
function barriersOf(dispatches: readonly Dispatch[]): number {
  let barriers = 0;
  let written = new Set<DeviceBuffer>();
  for (const { output, inputs } of dispatches) {
    if ([output, ...inputs].some(({ buffer }: Slice) => written.has(buffer))) {
      barriers++;
      written = new Set();
    }
    written.add(output.buffer);
  }
  return barriers;
}

/** Words of 4 bytes in the variables of an entry, by its text: vec4s count four, arrays their length. What is live besides is not counted. */
function variablesOf({ source, entry, specialize: values = {} }: Dispatch["kernel"]): number {
  const text = specialize(source, values);
  const constants = new Map(
    [...text.matchAll(/^const (\w+) = ([^;]+);/gm)].map(([, name, value]) => [name!, value!.replace(/u$/, "")]),
  );
  const value = (expression: string): number => {
    const known = expression.replace(/\b[A-Z]\w*\b/g, (name) => String(value(constants.get(name) ?? "0")));
    return Math.floor(Number(new Function(`return ${known.replace(/(\d)u\b/g, "$1")}`)()));
  };
  const start = text.indexOf(`fn ${entry}(`);
  const body = text.slice(start, text.indexOf("\n}", start));
  const next = /var next: Next/.test(body) ? [...text.matchAll(/^ {2}[ab]: array<(vec4)<f32>, (\w+)>/gm)] : [];
  const declared = [...body.matchAll(/var \w+(?:: array<(vec4|f32)?(?:<f32>)?, ?(\w+)>)?(?: = (vec[24]))?/g), ...next];
  return declared.reduce((sum, [, of, length, vector]) => {
    if (length) return sum + (of === "vec4" ? 4 : 1) * value(length);
    return sum + (vector === "vec4" ? 4 : vector === "vec2" ? 2 : 1);
  }, 0);
}

const kept: Dispatch[] = [];
using step = trainingStep(countingDevice(kept), {
  preset,
  rows: Number(rows),
  length: Number(tokens),
  vocabulary: 50257,
});
step.run();

const table = new Map<string, Work>();
for (const dispatch of kept) {
  const { kernel, workgroups } = dispatch;
  const name = `${kernel.name}.${kernel.entry}`;
  const groups = workgroups[0] * workgroups[1] * workgroups[2];
  const work = table.get(name) ?? { count: 0, flops: 0, bytes: 0, least: groups, most: groups, kernel };
  work.count++;
  work.flops += flopsOf(dispatch);
  work.bytes += bytesOf(dispatch);
  work.least = Math.min(work.least, groups);
  work.most = Math.max(work.most, groups);
  table.set(name, work);
}

const seconds = ({ flops, bytes }: Pick<Work, "flops" | "bytes">, card: (typeof cards)[number]) =>
  Math.max(flops / card.flops, bytes / card.bytes);
const number = (value: number, digits = 0) => value.toFixed(digits).padStart(9);
console.log(`${preset}, ${rows} x ${tokens}`);
console.log(`${"".padEnd(32)}dispatches   GFLOP        MB   workgroups      variables`);
for (const [name, work] of [...table].sort(([, a], [, b]) => seconds(b, cards[0]!) - seconds(a, cards[0]!))) {
  const groups = work.least === work.most ? `${work.most}` : `${work.least} to ${work.most}`;
  console.log(
    `${name.padEnd(32)}${number(work.count)}${number(work.flops / 1e9)}${number(work.bytes / 1e6)}   ${groups.padEnd(16)}${variablesOf(work.kernel)}`,
  );
}
const all = [...table.values()];
const total = (of: (work: Work) => number) => all.reduce((sum, work) => sum + of(work), 0);
console.log(
  `${"in all".padEnd(32)}${number(kept.length)}${number(total(({ flops }) => flops / 1e9))}${number(total(({ bytes }) => bytes / 1e6))}   ${barriersOf(kept)} waits between dispatches`,
);
console.log("\non paper, every kernel at the larger of its arithmetic and its memory");
for (const card of cards) {
  const ms = 1000 * total((work) => seconds(work, card));
  const throughput = (Number(rows) * Number(tokens) * 1000) / ms;
  console.log(`${card.name.padEnd(32)}${ms.toFixed(1).padStart(9)} ms ${throughput.toFixed(0).padStart(9)} tokens/s`);
}
