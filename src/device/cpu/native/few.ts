/**
 * A few rows of A times a B that passes by once and is not packed: the products of decoding. The sums are held in memory; for each of them it
 * is the same chain of fused multiply-adds as in product.ts.
 */
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
  ymm,
} from "./operands";
import { bytesOf, type Kind, loadEight, transposed } from "./pack";
import { given, type Writer } from "./writer";

/** The arguments, in the order of kernels/cpu/native.ts. `stride`: bytes from a row, or a column, of B to the next. */
const args = { rows: 1, columns: 2, depth: 3, a: 4, aRow: 5, b: 6, stride: 7, sums: 8, sumsRow: 9 };

/** sums += A B where the rows of B lie straight. The columns count as a multiple of 8: up to 7 numbers behind a row's last are read. */
export function writeFewRows(code: Writer, kind: Kind): void {
  const size = bytesOf(kind);
  const [b, stride, triple, depth] = [r12, r8, r9, rbp];
  const [row, rowsLeft, sums] = [r10, r11, rdi];
  // Rows 0, 4, 8 and 12 of B from the step under way on: the last eight are fetched for the next.
  const [b0, b4, b8, b12, to, left] = [rax, rcx, rsi, r13, rdx, rbx];
  const fourRows = (base: Register): Memory[] => [
    at(base),
    { base, index: stride },
    { base, index: stride, scale: 2 },
    { base, index: triple },
  ];
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
