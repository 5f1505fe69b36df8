/** All kernels of machine code, one after another, behind one entry. scripts/build-kernels.ts writes it to a file. */
import { writeAdamW } from "./adamw";
import { binaries, unaries } from "./elementwise";
import { writeFewRows } from "./few";
import { writeFewColumns } from "./few-columns";
import { writeLayerNorm, writeLayerNormBackward } from "./layer-norm";
import * as maps from "./maps";
import { type Label, r12, r13, rax, rbp, rbx, rcx, rdi } from "./operands";
import { type Kind, kinds, writePackColumns, writePackRows, writePackStrips } from "./pack";
import { writeProduct } from "./product";
import { type WordKind, wordKinds, writeFewWords, writePackWords } from "./words";
import { base, given, type Writer, writer } from "./writer";

type Kernel = readonly [name: string, write: (code: Writer) => void];

/** Kernels of which the first has the name, and the others are called by what is added to its number. */
const family = (name: string, writes: readonly ((code: Writer) => void)[]): Kernel[] =>
  writes.map((write, i) => [i === 0 ? name : `${name} + ${i}`, write]);

/** A kernel for each kind of numbers. */
const ofKinds = (name: string, write: (code: Writer, kind: Kind) => void): Kernel[] =>
  family(
    name,
    kinds.map((kind) => (code: Writer) => write(code, kind)),
  );

const ofWordKinds = (name: string, write: (code: Writer, kind: WordKind) => void): Kernel[] =>
  family(
    name,
    wordKinds.map((kind) => (code: Writer) => write(code, kind)),
  );

/** In the order of their numbers, under the names that these have in kernels/cpu/native.ts. */
export const kernels: readonly Kernel[] = [
  ["PRODUCT", (code) => writeProduct(code, false)],
  ["PACKED_PRODUCT", (code) => writeProduct(code, true)],
  ["STRIPS", writePackStrips],
  ...ofKinds("PACK_ROWS", writePackRows),
  ...ofKinds("PACK_COLUMNS", writePackColumns),
  ...ofKinds("FEW_ROWS", writeFewRows),
  ...ofKinds("FEW_COLUMNS", writeFewColumns),
  ["GELU", maps.writeGelu],
  ["GELU_BACKWARD", maps.writeGeluBackward],
  ["WEIGH", (code) => maps.writeExponentials(code, true)],
  ["EXP_SUM", (code) => maps.writeExponentials(code, false)],
  ["SCALED_EXP", maps.writeScaledExp],
  ["MOMENTS", maps.writeMoments],
  ["SLOPE", maps.writeSoftmaxSlope],
  ["ADAMW", writeAdamW],
  ["STATISTICS", (code) => writeLayerNorm(code, { statistics: true, normalised: false })],
  ["NORMALISED", (code) => writeLayerNorm(code, { statistics: false, normalised: true })],
  ["STATISTICS_NORMALISED", (code) => writeLayerNorm(code, { statistics: true, normalised: true })],
  ["NORM_BACKWARD", writeLayerNormBackward],
  ...family("UNARY", unaries),
  ...family("BINARY", binaries),
  ["DROPOUT", maps.writeDropout],
  ...ofWordKinds("PACK_WORDS", writePackWords),
  ...ofWordKinds("FEW_WORDS", writeFewWords),
];

const kept = [rbx, rbp, r12, r13, base, given];

/**
 * The code. Its first eight bytes are for the address of the shared memory. Behind them is its entry: a C function (System V) of one 32-bit
 * number, which says where in that memory the number of a kernel and its arguments stand.
 */
export function machineCode(): Uint8Array<ArrayBuffer> {
  const code = writer();
  const [start, table, end] = [code.label(), code.label(), code.label()];
  code.bind(start);
  code.data(new Uint8Array(8));
  for (const register of kept) code.push(register);
  code.load(base, { label: start });
  code.mov32(given, rdi);
  code.add(given, base);
  code.load32(rax, { base: given });
  code.lea(rcx, { label: table });
  code.load32(rax, { base: rcx, index: rax, scale: 4 });
  code.lea(rcx, { label: start });
  code.add(rax, rcx);
  code.jumpTo(rax);
  const entries = kernels.map(([, write]): Label => {
    code.align(32);
    const entry = code.label();
    code.bind(entry);
    write(code);
    code.jump(end);
    return entry;
  });
  code.bind(end);
  code.vzeroupper();
  for (const register of kept.toReversed()) code.pop(register);
  code.ret();
  code.align(4);
  code.bind(table);
  for (const entry of entries) code.offsetOf(entry, start);
  code.writeConstants();
  return code.bytes();
}
