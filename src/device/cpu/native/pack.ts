/** Parts of A and B laid out as product.ts walks over them. B: panels of 16 columns. A: strips of 6 rows, each step's 6 floats together. */
import {
  at,
  type Memory,
  type Register,
  r8,
  r9,
  r10,
  r11,
  r12,
  r13,
  rax,
  rbp,
  rbx,
  rcx,
  rdi,
  rdx,
  rsi,
  type Vector,
  ymm,
} from "./operands";
import { PANEL_GAP, ROWS, STRIP_GAP } from "./product";
import type { Writer } from "./writer";

/** How numbers are stored, in the order of STORED in kernels/cpu/math.ts. */
export const kinds = ["float32", "bfloat16", "float16"] as const;
export type Kind = (typeof kinds)[number];

export const bytesOf = (kind: Kind): 2 | 4 => (kind === "float32" ? 4 : 2);

/** Eight numbers as floats. */
export function loadEight(code: Writer, to: Vector, from: Memory, kind: Kind): void {
  if (kind === "float32") code.vmovups(to, from);
  else if (kind === "float16") code.vcvtph2ps(to, from);
  else {
    // A bfloat16 is the upper half of a float.
    code.vpmovzxwd(to, from);
    code.vpslld(to, to, 16);
  }
}

/** The arguments, in the order of kernels/cpu/native.ts. `stride`: bytes from a row, or a column, of the source to the next. */
const args = { from: 1, stride: 2, depth: 3, width: 4, to: 5 };

/** B whose rows lie straight: a run of each row is dealt out to the panels. Reads up to 15 numbers behind a row's last. */
export function writePackRows(code: Writer, kind: Kind): void {
  const [row, stride, depth, from, to, panel, left, step] = [rsi, r8, rbx, rax, rdi, rdx, rcx, r9];
  const size = bytesOf(kind);
  code.address(row, args.from);
  code.address(to, args.to);
  code.argument(stride, args.stride);
  code.argument(depth, args.depth);
  code.mov(step, depth);
  code.shiftLeft(step, 6);
  code.addNumber(step, PANEL_GAP);
  code.whileAtLeast(depth, 1, () => {
    code.mov(from, row);
    code.mov(panel, to);
    code.argument(left, args.width);
    // Whole panels, and a last one that is not.
    code.addNumber(left, 15);
    code.whileAtLeast(left, 16, () => {
      loadEight(code, ymm(0), at(from), kind);
      loadEight(code, ymm(1), at(from, 8 * size), kind);
      code.vstore(at(panel), ymm(0));
      code.vstore(at(panel, 32), ymm(1));
      code.addNumber(from, 16 * size);
      code.add(panel, step);
    });
    code.add(row, stride);
    code.addNumber(to, 64);
  });
}

/** B whose columns lie straight: eight at a time are transposed. Reads up to 7 numbers behind a column's last. */
export function writePackColumns(code: Writer, kind: Kind): void {
  const columns: readonly Register[] = [rax, rcx, rdx, rbx, rsi, r8, r9, r10];
  const [to, stride, index, left] = [rdi, r11, rbp, r12];
  const size = bytesOf(kind);
  const [first, ...others] = columns as [Register, ...Register[]];
  code.address(first, args.from);
  code.argument(stride, args.stride);
  code.argument(left, args.width);
  code.address(to, args.to);
  const [group, end] = [code.label(), code.label()];
  code.bind(group);
  // The columns that are not there are the last one that is.
  others.forEach((column, i) => {
    code.mov(column, columns[i]!);
    code.cmpNumber(left, i + 1);
    code.unless("belowOrEqual", () => code.add(column, stride));
  });
  code.push(to);
  code.push(left);
  code.argument(left, args.depth);
  code.sub(index, index);
  const rows = Array.from({ length: 8 }, (_, i) => ymm(i));
  const load = () =>
    columns.forEach((column, i) => {
      loadEight(code, rows[i]!, { base: column, index, scale: size }, kind);
    });
  code.whileAtLeast(left, 8, () => {
    load();
    transposed(code).forEach((vector, k) => {
      code.vstore(at(to, 64 * k), vector);
    });
    code.addNumber(index, 8);
    code.addNumber(to, 8 * 64);
  });
  const whole = code.label();
  code.test(left, left);
  code.jumpIf("equal", whole);
  load();
  for (const [k, vector] of transposed(code).slice(0, 7).entries()) {
    code.vstore(at(to, 64 * k), vector);
    code.subNumber(left, 1);
    code.jumpIf("equal", whole);
  }
  code.bind(whole);
  code.pop(left);
  code.pop(to);
  code.subNumber(left, 8);
  code.jumpIf("belowOrEqual", end);
  code.lea(first, { base: columns[7]!, index: stride });
  // The other half of the panel, or the next panel.
  const [half, placed] = [code.label(), code.label()];
  code.argument(r13, args.width);
  code.sub(r13, left);
  code.andNumber(r13, 8);
  code.jumpIf("notEqual", half);
  code.argument(r13, args.depth);
  code.shiftLeft(r13, 6);
  code.add(to, r13);
  code.addNumber(to, PANEL_GAP - 32);
  code.jump(placed);
  code.bind(half);
  code.addNumber(to, 32);
  code.bind(placed);
  code.jump(group);
  code.bind(end);
}

/** The transpose of ymm0 to ymm7, whose k-th vector has the k-th float of each: in ymm8 to ymm15. The others are free then. */
export function transposed(code: Writer): Vector[] {
  const v = Array.from({ length: 16 }, (_, i) => ymm(i));
  // Pairs, then fours of each half, then halves.
  for (let i = 0; i < 4; i++) {
    code.vunpcklps(v[8 + 2 * i]!, v[2 * i]!, v[2 * i + 1]!);
    code.vunpckhps(v[9 + 2 * i]!, v[2 * i]!, v[2 * i + 1]!);
  }
  for (const [i, j] of [
    [0, 8],
    [4, 12],
  ] as const) {
    code.vunpcklpd(v[i]!, v[j]!, v[j + 2]!);
    code.vunpckhpd(v[i + 1]!, v[j]!, v[j + 2]!);
    code.vunpcklpd(v[i + 2]!, v[j + 1]!, v[j + 3]!);
    code.vunpckhpd(v[i + 3]!, v[j + 1]!, v[j + 3]!);
  }
  for (let k = 0; k < 4; k++) {
    code.vperm2f128(v[8 + k]!, v[k]!, v[4 + k]!, 0x20);
    code.vperm2f128(v[12 + k]!, v[k]!, v[4 + k]!, 0x31);
  }
  return v.slice(8);
}

/**
 * A that is stored the other way round: of each row of its source a run is dealt out to the strips. Eight floats are copied for six: the next
 * step overwrites the others, and behind the last is a gap. Reads up to 7 floats behind a run.
 */
export function writePackStrips(code: Writer): void {
  const [row, stride, depth, from, to, strip, left, step] = [rsi, r8, rbx, rax, rdi, rdx, rcx, r9];
  code.address(row, args.from);
  code.address(to, args.to);
  code.argument(stride, args.stride);
  code.argument(depth, args.depth);
  code.lea(step, { base: depth, index: depth, scale: 2 });
  code.shiftLeft(step, 3);
  code.addNumber(step, STRIP_GAP);
  code.whileAtLeast(depth, 1, () => {
    code.mov(from, row);
    code.mov(strip, to);
    code.argument(left, args.width);
    code.addNumber(left, ROWS - 1);
    code.whileAtLeast(left, ROWS, () => {
      code.vmovups(ymm(0), at(from));
      code.vstore(at(strip), ymm(0));
      code.addNumber(from, 4 * ROWS);
      code.add(strip, step);
    });
    code.add(row, stride);
    code.addNumber(to, 4 * ROWS);
  });
}
