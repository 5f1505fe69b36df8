/** All kernels of machine code, one after another, behind one entry. scripts/build-kernels.ts writes it to a file. */
import { writeAdamW } from "./adamw";
import { elementwise } from "./elementwise";
import { writeFewColumns, writeFewRows } from "./few";
import { writeLayerNorm, writeLayerNormBackward } from "./layer-norm";
import * as maps from "./maps";
import { type Label, r12, r13, rax, rbp, rbx, rcx, rdi } from "./operands";
import { kinds, writePackColumns, writePackRows, writePackStrips } from "./pack";
import { writeProduct } from "./product";
import { base, given, type Writer, writer } from "./writer";

/** In the order of kernels/cpu/native.ts. */
const kernels: readonly ((code: Writer) => void)[] = [
  (code) => writeProduct(code, false),
  (code) => writeProduct(code, true),
  writePackStrips,
  ...kinds.map((kind) => (code: Writer) => writePackRows(code, kind)),
  ...kinds.map((kind) => (code: Writer) => writePackColumns(code, kind)),
  ...kinds.map((kind) => (code: Writer) => writeFewRows(code, kind)),
  ...kinds.map((kind) => (code: Writer) => writeFewColumns(code, kind)),
  maps.writeGelu,
  maps.writeGeluBackward,
  (code) => maps.writeExponentials(code, true),
  (code) => maps.writeExponentials(code, false),
  maps.writeScaledExp,
  maps.writeMoments,
  maps.writeSoftmaxSlope,
  writeAdamW,
  (code) => writeLayerNorm(code, { statistics: true, normalised: false }),
  (code) => writeLayerNorm(code, { statistics: false, normalised: true }),
  (code) => writeLayerNorm(code, { statistics: true, normalised: true }),
  writeLayerNormBackward,
  ...elementwise,
  maps.writeDropout,
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
  const entries = kernels.map((write): Label => {
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
