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
import { bytesOf, type Kind, loadEight, transposed } from "./pack";
import { given, type Writer } from "./writer";

/** The arguments, in the order of kernels/cpu/native.ts. `stride`: bytes from a row, or a column, of B to the next. */
const args = { rows: 1, columns: 2, depth: 3, a: 4, aRow: 5, b: 6, stride: 7, sums: 8, sumsRow: 9 };

/** Columns that all rows of A go over before the next: what is fetched for the steps to come is spread over the work. */
const CHUNK = 128;

/**
 * sums += A B where the rows of B lie straight: four of them at a time, and two rows of A. The columns count as a multiple of 8: up to 7
 * numbers behind a row's last are read.
 */
export function writeFewRows(code: Writer, kind: Kind): void {
  const size = bytesOf(kind);
  const [stride, triple, depth, a, b] = [r8, r9, rbp, r10, r12];
  const [columnsLeft, chunk, bChunk, sums] = [rbx, rcx, rsi, rdi];
  const [rowsLeft, row, from, to] = [r11, r13, rax, rdx];
  // While a step's chunks are walked over these two lie on the stack.
  const [left, sumsRow] = [depth, b];
  const fourRows = (base: Register): Place[] => [
    at(base),
    { base, index: stride },
    { base, index: stride, scale: 2 },
    { base, index: triple },
  ];
  const writeChunk = (count: number) => {
    if (count === 4) {
      code.lea(from, { base: bChunk, index: stride, scale: 4 });
      code.mov(left, chunk);
      code.addNumber(left, 64 / size - 1);
      code.whileAtLeast(left, 64 / size, () => {
        for (const next of fourRows(from)) code.prefetch(next);
        code.addNumber(from, 64);
      });
    }
    code.mov(row, a);
    code.push(sums);
    code.argument(rowsLeft, args.rows);
    for (const rows of [2, 1] as const) code.whileAtLeast(rowsLeft, rows, () => writePass(count, rows));
    code.pop(sums);
    code.lea(sums, { base: sums, index: chunk, scale: 4 });
    code.lea(bChunk, { base: bChunk, index: chunk, scale: size });
  };
  const writePass = (count: number, rows: 1 | 2) => {
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
        code.addNumber(from, 8 * size * vectors);
        code.addNumber(to, 32 * vectors);
      });
    }
    code.lea(sums, { base: sums, index: sumsRow, scale: rows });
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
      const [next, whole] = [code.label(), code.label()];
      code.bind(next);
      code.mov(chunk, columnsLeft);
      code.cmpNumber(chunk, CHUNK);
      code.jumpIf("belowOrEqual", whole);
      code.movNumber(chunk, CHUNK);
      code.bind(whole);
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

/** sums += A B where the columns of B lie straight: 16 of them at a time, a multiple of 16 in all, and a depth that is one of 8. */
export function writeFewColumns(code: Writer, kind: Kind): void {
  const size = bytesOf(kind);
  const [stride, triple, columnsLeft, depthLeft] = [r8, r9, rbx, rbp];
  // Columns 0, 4, 8 and 12 of those under way.
  const columns = [rax, rcx, rdx, rsi];
  const [a, row, rowsLeft, sums] = [r12, r10, r11, rdi];
  const spare = r13;
  code.argument(stride, args.stride);
  code.lea(triple, { base: stride, index: stride, scale: 2 });
  code.argument(columnsLeft, args.columns);
  code.whileAtLeast(columnsLeft, 16, () => {
    code.address(columns[0]!, args.b);
    for (let i = 1; i < 4; i++) code.lea(columns[i]!, { base: columns[i - 1]!, index: stride, scale: 4 });
    code.address(a, args.a);
    code.argument(depthLeft, args.depth);
    code.whileAtLeast(depthLeft, 8, () => {
      for (const half of [0, 1]) {
        for (let i = 0; i < 8; i++) {
          const base = columns[2 * half + (i >> 2)]!;
          const place: Memory[] = [
            at(base),
            { base, index: stride },
            { base, index: stride, scale: 2 },
            { base, index: triple },
          ];
          loadEight(code, ymm(i), place[i & 3]!, kind);
        }
        const steps = transposed(code);
        code.mov(row, a);
        code.address(sums, args.sums);
        code.argument(rowsLeft, args.rows);
        code.whileAtLeast(rowsLeft, 1, () => {
          // Two of those that the transpose has left free.
          const [sum, factor] = [ymm(0), ymm(1)];
          code.vmovups(sum, at(sums, 32 * half));
          steps.forEach((step, k) => {
            code.vbroadcastss(factor, at(row, 4 * k));
            code.vfmadd231ps(sum, factor, step);
          });
          code.vstore(at(sums, 32 * half), sum);
          code.argument(spare, args.aRow);
          code.add(row, spare);
          code.argument(spare, args.sumsRow);
          code.add(sums, spare);
        });
      }
      for (const column of columns) code.addNumber(column, 8 * size);
      code.addNumber(a, 32);
    });
    code.argument(spare, args.sums);
    code.addNumber(spare, 64);
    code.store32(at(given, 4 * args.sums), spare);
    code.argument(spare, args.b);
    code.lea(spare, { base: spare, index: stride, scale: 8 });
    code.lea(spare, { base: spare, index: stride, scale: 8 });
    code.store32(at(given, 4 * args.b), spare);
  });
}
