/**
 * Matrices in words of four int8 or eight int4 numbers of one column of B, as src/tensor/stored.ts lays them out: the words of a few
 * steps of all columns lie in a row. They become floats here by the same roundings as in kernels/cpu/quantised.ts.
 */
import {
  at,
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
import { PANEL_GAP } from "./product";
import { given, type Writer } from "./writer";

/** In the order of STORED in kernels/cpu/math.ts, from INT8 on. */
export const wordKinds = ["int8", "int4"] as const;
export type WordKind = (typeof wordKinds)[number];

/**
 * The arguments, in the order of kernels/cpu/native.ts. `stride`: bytes from a row of words to the next. `scales`, `least`: those of the
 * first columns and steps; int4's for the next 64 steps lie `groupStride` bytes further on. What follows is a kernel's own.
 */
const args = { words: 1, stride: 2, scales: 3, least: 4, groupStride: 6, depth: 7, width: 8 };
const packing = { to: 9 };
const few = { rows: 9, a: 10, aRow: 11, sums: 12, sumsRow: 13 };

const stepsOf = (kind: WordKind) => (kind === "int8" ? 4 : 8);
/** Bytes of a column's scale. */
const scaleBytes = (kind: WordKind) => (kind === "int8" ? 4 : 2);

interface Scales {
  readonly scale: Vector;
  readonly least: Vector;
  readonly mask: Vector;
}

/** Eight columns' scales. */
function loadScales(
  code: Writer,
  kind: WordKind,
  { scale, least }: Scales,
  from: { readonly scales: Register; readonly least: Register; readonly column?: number },
): void {
  const offset = scaleBytes(kind) * (from.column ?? 0);
  if (kind === "int8") code.vmovups(scale, at(from.scales, offset));
  else {
    code.vcvtph2ps(scale, at(from.scales, offset));
    code.vcvtph2ps(least, at(from.least, offset));
  }
}

/** The numbers that stand at place `s` in eight words. */
function unpack(
  code: Writer,
  kind: WordKind,
  to: Vector,
  words: Vector,
  s: number,
  { scale, least, mask }: Scales,
): void {
  if (kind === "int8") {
    if (s < 3) code.vpslld(to, words, 24 - 8 * s);
    code.vpsrad(to, s < 3 ? to : words, 24);
    code.vcvtdq2ps(to, to);
    code.vmulps(to, to, scale);
    return;
  }
  if (s > 0) code.vpsrld(to, words, 4 * s);
  if (s < 7) code.vandps(to, s > 0 ? to : words, mask);
  code.vcvtdq2ps(to, to);
  code.vfmadd213ps(to, scale, least);
}

function loadMask(code: Writer, kind: WordKind, { mask }: Scales): void {
  if (kind === "int4") code.vmovups(mask, code.constant(15, "bits"));
}

/** After eight steps: on to the next scales where these began a new 64. */
function nextGroup(code: Writer, kind: WordKind, done: Register, spare: Register): void {
  if (kind === "int8") return;
  code.addNumber(done, 8);
  code.mov(spare, done);
  code.andNumber(spare, 63);
  code.unless("notEqual", () => {
    for (const pointer of [args.scales, args.least]) {
      code.argument(spare, pointer);
      code.load32(done, { base: given, offset: 4 * args.groupStride });
      code.add(spare, done);
      code.store32(at(given, 4 * pointer), spare);
    }
    code.sub(done, done);
  });
}

/** Panels of 16 columns. The depth is a multiple of 8; up to 15 columns behind the last are read. */
export function writePackWords(code: Writer, kind: WordKind): void {
  const [row, stride, depth, to, step, done] = [rsi, r8, rbx, rdi, r9, r11];
  const [from, panel, left, scales, least, spare] = [rax, rdx, rcx, r10, r12, r13];
  const of: Scales = { scale: ymm(1), least: ymm(2), mask: ymm(15) };
  const [words, value] = [ymm(0), ymm(3)];
  const steps = stepsOf(kind);
  code.address(row, args.words);
  code.address(to, packing.to);
  code.argument(stride, args.stride);
  code.argument(depth, args.depth);
  code.mov(step, depth);
  code.shiftLeft(step, 6);
  code.addNumber(step, PANEL_GAP);
  code.sub(done, done);
  loadMask(code, kind, of);
  code.whileAtLeast(depth, 8, () => {
    for (let half = 0; half < 8 / steps; half++) {
      code.mov(from, row);
      code.mov(panel, to);
      code.address(scales, args.scales);
      code.address(least, args.least);
      code.argument(left, args.width);
      code.addNumber(left, 15);
      code.whileAtLeast(left, 16, () => {
        for (const column of [0, 8]) {
          code.vmovups(words, at(from, 4 * column));
          loadScales(code, kind, of, { scales, least, column });
          for (let s = 0; s < steps; s++) {
            unpack(code, kind, value, words, s, of);
            code.vstore(at(panel, 64 * s + 4 * column), value);
          }
        }
        code.addNumber(from, 64);
        code.addNumber(scales, 16 * scaleBytes(kind));
        if (kind === "int4") code.addNumber(least, 32);
        code.add(panel, step);
      });
      code.add(row, stride);
      code.addNumber(to, 64 * steps);
    }
    nextGroup(code, kind, done, spare);
  });
}

/** sums += A B for a few rows of A. Width and depth are multiples of 8. */
export function writeFewWords(code: Writer, kind: WordKind): void {
  const several = code.label();
  const end = code.label();
  code.argument(rax, few.rows);
  code.cmpNumber(rax, 1);
  code.jumpIf("above", several);
  writeSteps(code, kind, writeAlone);
  code.jump(end);
  code.bind(several);
  writeSteps(code, kind, writeSeveral);
  code.bind(end);
}

/** Eight steps under way: the words of their columns (int8's are two rows), the sums, and the columns that are left. */
const [b, stride, depth, a, done] = [r12, r8, rbp, r10, r11];
const rowsOfWords = [rax, rcx] as const;
const [to, left, scales, least] = [rdx, rbx, rdi, r13];
const [sum, words, spare] = [ymm(0), [ymm(1), ymm(2)] as const, ymm(6)];
const ofFew: Scales = { scale: ymm(3), least: ymm(4), mask: ymm(5) };

/** Walks over the depth eight steps at a time, and with each over all columns. */
function writeSteps(code: Writer, kind: WordKind, write: (code: Writer, kind: WordKind) => void): void {
  code.address(b, args.words);
  code.argument(stride, args.stride);
  code.argument(depth, args.depth);
  code.address(a, few.a);
  code.sub(done, done);
  loadMask(code, kind, ofFew);
  code.whileAtLeast(depth, 8, () => {
    code.mov(rowsOfWords[0], b);
    if (kind === "int8") code.lea(rowsOfWords[1], { base: b, index: stride });
    code.address(to, few.sums);
    code.address(scales, args.scales);
    code.address(least, args.least);
    code.argument(left, args.width);
    write(code, kind);
    code.addNumber(a, 32);
    code.lea(b, { base: b, index: stride, scale: kind === "int8" ? 2 : 1 });
    nextGroup(code, kind, done, rax);
  });
}

/** What is read of eight columns, and what of the next eight steps is fetched. */
function writeColumns(code: Writer, kind: WordKind, body: () => void): void {
  const rows = kind === "int8" ? rowsOfWords : rowsOfWords.slice(0, 1);
  code.whileAtLeast(left, 8, () => {
    rows.forEach((row, i) => {
      code.vmovups(words[i]!, at(row));
      code.prefetch({ base: row, index: stride, scale: kind === "int8" ? 2 : 1 });
    });
    loadScales(code, kind, ofFew, { scales, least });
    body();
    for (const row of rows) code.addNumber(row, 32);
    code.addNumber(to, 32);
    code.addNumber(scales, 8 * scaleBytes(kind));
    if (kind === "int4") code.addNumber(least, 16);
  });
}

const eachStep = (kind: WordKind, f: (k: number, from: Vector, s: number) => void) => {
  const steps = stepsOf(kind);
  for (let k = 0; k < 8; k++) f(k, words[Math.floor(k / steps)]!, k % steps);
};

function writeAlone(code: Writer, kind: WordKind): void {
  const factor = (k: number) => ymm(8 + k);
  for (let k = 0; k < 8; k++) code.vbroadcastss(factor(k), at(a, 4 * k));
  writeColumns(code, kind, () => {
    code.vmovups(sum, at(to));
    eachStep(kind, (k, from, s) => {
      unpack(code, kind, spare, from, s, ofFew);
      code.vfmadd231ps(sum, factor(k), spare);
    });
    code.vstore(at(to), sum);
  });
}

function writeSeveral(code: Writer, kind: WordKind): void {
  const [row, rowsLeft, sums, next] = [rsi, r9, rbp, r11];
  const value = (k: number) => ymm(8 + k);
  writeColumns(code, kind, () => {
    eachStep(kind, (k, from, s) => unpack(code, kind, value(k), from, s, ofFew));
    code.push(depth);
    code.push(done);
    code.mov(row, a);
    code.mov(sums, to);
    code.argument(rowsLeft, few.rows);
    code.whileAtLeast(rowsLeft, 1, () => {
      code.vmovups(sum, at(sums));
      for (let k = 0; k < 8; k++) {
        code.vbroadcastss(spare, at(row, 4 * k));
        code.vfmadd231ps(sum, spare, value(k));
      }
      code.vstore(at(sums), sum);
      code.argument(next, few.aRow);
      code.add(row, next);
      code.argument(next, few.sumsRow);
      code.add(sums, next);
    });
    code.pop(done);
    code.pop(depth);
  });
}
