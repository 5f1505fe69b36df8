/**
 * A few rows of A times a B that passes by once and is not packed: the products of decoding. The sums are held in memory; for each of them it
 * is the same chain of fused multiply-adds as in product.ts.
 */
import {
  at,
  type Memory,
  type Place,
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
import { bytesOf, type Kind, loadEight } from "./pack";
import type { Writer } from "./writer";

/** The arguments, in the order of kernels/cpu/native.ts. `stride`: bytes from a row, or a column, of B to the next. */
export const args = { rows: 1, columns: 2, depth: 3, a: 4, aRow: 5, b: 6, stride: 7, sums: 8, sumsRow: 9, panel: 10 };

/** Rows up to which they go over B one by one. */
const ROW_BY_ROW = 4;

/** sums += A B where the rows of B lie straight. The columns count as a multiple of 8: up to 7 numbers behind a row's last are read. */
export function writeFewRows(code: Writer, kind: Kind): void {
  const [pairs, end] = [code.label(), code.label()];
  code.argument(rax, args.rows);
  code.cmpNumber(rax, ROW_BY_ROW);
  code.jumpIf("above", pairs);
  writeRowByRow(code, kind);
  code.jump(end);
  code.bind(pairs);
  writePairs(code, kind);
  code.bind(end);
}

/** What lies at a register, and one, two and three strides further on. */
export const fourFrom = (base: Register, stride: Register, triple: Register): Place[] => [
  at(base),
  { base, index: stride },
  { base, index: stride, scale: 2 },
  { base, index: triple },
];

/** Each row of A goes over eight rows of B and fetches the next eight: fastest where memory is all that is waited for. */
function writeRowByRow(code: Writer, kind: Kind): void {
  const size = bytesOf(kind);
  const [b, stride, triple, depth] = [r12, r8, r9, rbp];
  const [row, rowsLeft, sums] = [r10, r11, rdi];
  // Rows 0, 4, 8 and 12 of B from the step under way on: the last eight are fetched for the next.
  const [b0, b4, b8, b12, to, left] = [rax, rcx, rsi, r13, rdx, rbx];
  const fourRows = (base: Register) => fourFrom(base, stride, triple);
  code.address(b, args.b);
  code.argument(stride, args.stride);
  code.lea(triple, { base: stride, index: stride, scale: 2 });
  code.argument(depth, args.depth);
  code.address(row, args.a);
  const walk = (count: number) => () => {
    const factors = Array.from({ length: count }, (_, k) => ymm(8 + k));
    code.address(sums, args.sums);
    code.argument(rowsLeft, args.rows);
    code.push(row);
    code.whileAtLeast(rowsLeft, 1, () => {
      factors.forEach((factor, k) => {
        code.vbroadcastss(factor, at(row, 4 * k));
      });
      code.mov(b0, b);
      if (count > 4) {
        code.lea(b4, { base: b, index: stride, scale: 4 });
        code.lea(b8, { base: b4, index: stride, scale: 4 });
        code.lea(b12, { base: b8, index: stride, scale: 4 });
      }
      code.mov(to, sums);
      code.argument(left, args.columns);
      code.whileAtLeast(left, 8, () => {
        const [sum, value] = [ymm(0), ymm(1)];
        code.vmovups(sum, at(to));
        factors.forEach((factor, k) => {
          const from = fourRows(k < 4 ? b0 : b4)[k % 4]!;
          if (kind === "float32") code.vfmadd231ps(sum, factor, from);
          else {
            loadEight(code, value, from, kind);
            code.vfmadd231ps(sum, factor, value);
          }
        });
        code.vstore(at(to), sum);
        if (count > 4) for (const next of [...fourRows(b8), ...fourRows(b12)]) code.prefetch(next);
        for (const pointer of count > 4 ? [b0, b4, b8, b12] : [b0]) code.addNumber(pointer, 8 * size);
        code.addNumber(to, 32);
      });
      code.argument(left, args.aRow);
      code.add(row, left);
      code.argument(left, args.sumsRow);
      code.add(sums, left);
    });
    code.pop(row);
    code.addNumber(row, 4 * count);
    code.lea(b, { base: b, index: stride, scale: count as 8 | 1 });
  };
  code.whileAtLeast(depth, 8, walk(8));
  code.whileAtLeast(depth, 1, walk(1));
}

/** Columns that all pairs of rows of A go over before the next. */
const CHUNK = 64;

/**
 * Two rows of A at a time go over four rows of B, a chunk of columns after another. Each pass fetches its share of the rows of B to come, so
 * that memory is read evenly while the processor has enough to do.
 */
function writePairs(code: Writer, kind: Kind): void {
  const size = bytesOf(kind);
  const [stride, triple, depth, a, b] = [r8, r9, rbp, r10, r12];
  const [columnsLeft, chunk, bChunk, sums] = [rbx, rcx, rsi, rdi];
  const [rowsLeft, row, from, to] = [r11, r13, rax, rdx];
  // While a step's chunks are walked over these two lie on the stack.
  const [left, sumsRow] = [depth, b];
  const ahead = columnsLeft;
  const fourRows = (base: Register) => fourFrom(base, stride, triple);
  const writeChunk = (count: number) => {
    code.mov(row, a);
    code.push(sums);
    code.push(columnsLeft);
    code.lea(ahead, { base: bChunk, index: stride, scale: 4 });
    code.argument(rowsLeft, args.rows);
    const passes = (fetched: 0 | 1 | 2) => {
      for (const rows of [2, 1] as const) code.whileAtLeast(rowsLeft, rows, () => writePass(count, rows, fetched));
    };
    if (count === 4) {
      // Three passes or four.
      const end = code.label();
      code.cmpNumber(rowsLeft, 6);
      code.unless("above", () => {
        passes(2);
        code.jump(end);
      });
      passes(1);
      code.bind(end);
    } else passes(0);
    code.pop(columnsLeft);
    code.pop(sums);
    code.lea(sums, { base: sums, index: chunk, scale: 4 });
    code.lea(bChunk, { base: bChunk, index: chunk, scale: size });
  };
  const writePass = (count: number, rows: 1 | 2, fetched: 0 | 1 | 2) => {
    const factor = (r: number, k: number) => ymm(8 + 4 * r + k);
    code.argument(from, args.aRow);
    for (let k = 0; k < count; k++) {
      code.vbroadcastss(factor(0, k), at(row, 4 * k));
      if (rows === 2) code.vbroadcastss(factor(1, k), { base: row, index: from, offset: 4 * k });
    }
    code.lea(row, { base: row, index: from, scale: rows });
    code.mov(from, bChunk);
    code.mov(to, sums);
    code.mov(left, chunk);
    if (fetched) code.push(ahead);
    for (const vectors of [2, 1]) {
      code.whileAtLeast(left, 8 * vectors, () => {
        const each = (f: (sum: Vector, place: Memory, r: number, v: number) => void) => {
          for (let v = 0; v < vectors; v++) {
            for (let r = 0; r < rows; r++) {
              const place = r === 0 ? at(to, 32 * v) : { base: to, index: sumsRow, offset: 32 * v };
              f(ymm(2 * r + v), place, r, v);
            }
          }
        };
        each((sum, place) => code.vmovups(sum, place));
        for (let k = 0; k < count; k++) {
          for (let v = 0; v < vectors; v++) {
            loadEight(code, ymm(4 + v), { ...fourRows(from)[k]!, offset: 8 * size * v }, kind);
          }
          each((sum, _, r, v) => code.vfmadd231ps(sum, factor(r, k), ymm(4 + v)));
        }
        each((sum, place) => code.vstore(place, sum));
        if (vectors === 2) {
          for (const next of fourRows(ahead).slice(0, fetched)) code.prefetch(next);
          if (fetched) code.addNumber(ahead, 8 * size * vectors);
        }
        code.addNumber(from, 8 * size * vectors);
        code.addNumber(to, 32 * vectors);
      });
    }
    code.lea(sums, { base: sums, index: sumsRow, scale: rows });
    if (fetched) {
      code.pop(ahead);
      code.lea(ahead, { base: ahead, index: stride, scale: fetched });
    }
  };
  code.address(b, args.b);
  code.argument(stride, args.stride);
  code.lea(triple, { base: stride, index: stride, scale: 2 });
  code.argument(depth, args.depth);
  code.address(a, args.a);
  for (const count of [4, 1] as const) {
    code.whileAtLeast(depth, count, () => {
      code.push(depth);
      code.push(b);
      code.mov(bChunk, b);
      code.address(sums, args.sums);
      code.argument(sumsRow, args.sumsRow);
      code.argument(columnsLeft, args.columns);
      const next = code.label();
      code.bind(next);
      code.mov(chunk, columnsLeft);
      code.cmpNumber(chunk, CHUNK);
      code.unless("belowOrEqual", () => code.movNumber(chunk, CHUNK));
      writeChunk(count);
      code.sub(columnsLeft, chunk);
      code.jumpIf("above", next);
      code.pop(b);
      code.pop(depth);
      code.addNumber(a, 4 * count);
      code.lea(b, { base: b, index: stride, scale: count });
    });
  }
}
