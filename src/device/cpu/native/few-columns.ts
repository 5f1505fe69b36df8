/** A few rows of A times a B whose columns lie straight: what few.ts is for the table of a model's head. */

import { args, fourFrom } from "./few";
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
import { bytesOf, type Kind, loadEight, transposed } from "./pack";
import { given, type Writer } from "./writer";

/** Bytes of a column between what is read and what is fetched. */
const AHEAD = 256;

/**
 * sums += A B where the columns of B lie straight: 16 of them at a time, a multiple of 16 in all, and a depth that is one of 8. Eight steps
 * are transposed to `panel`, 512 bytes, and four rows of A go over them at a time.
 */
export function writeFewColumns(code: Writer, kind: Kind): void {
  const size = bytesOf(kind);
  const [stride, triple, columnsLeft, depthLeft] = [r8, r9, rbx, rbp];
  // Columns 0, 4, 8 and 12 of those under way.
  const columns = [rax, rcx, rdx, rsi];
  const [a, row, rowsLeft, sums, panel] = [r12, r10, r11, rdi, r13];
  // While rows go over the panel these four lie on the stack.
  const outer = [stride, triple, columnsLeft, depthLeft];
  const [aRow, aTriple, sumsRow, sumsTriple] = outer as [Register, Register, Register, Register];
  const eightColumns = (half: number) => [0, 1].flatMap((i) => fourFrom(columns[2 * half + i]!, stride, triple));
  const writeRows = (rows: number) => {
    const sum = (r: number, half: number) => ymm(2 * r + half);
    const each = (f: (sum: Vector, place: Memory, r: number, half: number) => void) => {
      fourFrom(sums, sumsRow, sumsTriple)
        .slice(0, rows)
        .forEach((place, r) => {
          for (const half of [0, 1]) f(sum(r, half), { ...place, offset: 32 * half }, r, half);
        });
    };
    const values = [ymm(12), ymm(13)];
    const factor = ymm(14);
    each((sum, place) => code.vmovups(sum, place));
    for (let k = 0; k < 8; k++) {
      for (const half of [0, 1]) code.vmovups(values[half]!, at(panel, 64 * k + 32 * half));
      for (const [r, place] of fourFrom(row, aRow, aTriple).slice(0, rows).entries()) {
        code.vbroadcastss(factor, { ...place, offset: 4 * k });
        for (const half of [0, 1]) code.vfmadd231ps(sum(r, half), factor, values[half]!);
      }
    }
    each((sum, place) => code.vstore(place, sum));
  };
  const ifAlone = (body: () => void) => {
    code.argument(row, args.rows);
    code.cmpNumber(row, 1);
    code.unless("notEqual", body);
  };
  /** A row alone needs no panel: its steps are still in registers, and others are free. */
  const writeAlone = (steps: readonly Vector[], half: number) => {
    const [sum, factor] = [ymm(0), ymm(1)];
    code.address(sums, args.sums);
    code.vmovups(sum, at(sums, 32 * half));
    steps.forEach((step, k) => {
      code.vbroadcastss(factor, at(a, 4 * k));
      code.vfmadd231ps(sum, factor, step);
    });
    code.vstore(at(sums, 32 * half), sum);
  };
  code.argument(stride, args.stride);
  code.lea(triple, { base: stride, index: stride, scale: 2 });
  code.argument(columnsLeft, args.columns);
  code.address(panel, args.panel);
  code.whileAtLeast(columnsLeft, 16, () => {
    code.address(columns[0]!, args.b);
    for (let i = 1; i < 4; i++) code.lea(columns[i]!, { base: columns[i - 1]!, index: stride, scale: 4 });
    code.address(a, args.a);
    code.argument(depthLeft, args.depth);
    code.whileAtLeast(depthLeft, 8, () => {
      for (const half of [0, 1]) {
        for (const [i, place] of eightColumns(half).entries()) {
          loadEight(code, ymm(i), place, kind);
          code.prefetch({ ...place, offset: AHEAD });
        }
        const steps = transposed(code);
        const placed = code.label();
        ifAlone(() => {
          writeAlone(steps, half);
          code.jump(placed);
        });
        for (const [k, step] of steps.entries()) code.vstore(at(panel, 64 * k + 32 * half), step);
        code.bind(placed);
      }
      const walked = code.label();
      ifAlone(() => code.jump(walked));
      for (const register of outer) code.push(register);
      code.mov(row, a);
      code.address(sums, args.sums);
      code.argument(rowsLeft, args.rows);
      code.argument(aRow, args.aRow);
      code.argument(sumsRow, args.sumsRow);
      code.lea(aTriple, { base: aRow, index: aRow, scale: 2 });
      code.lea(sumsTriple, { base: sumsRow, index: sumsRow, scale: 2 });
      code.whileAtLeast(rowsLeft, 4, () => {
        writeRows(4);
        code.lea(row, { base: row, index: aRow, scale: 4 });
        code.lea(sums, { base: sums, index: sumsRow, scale: 4 });
      });
      for (const rows of [3, 2, 1]) {
        code.cmpNumber(rowsLeft, rows);
        code.unless("notEqual", () => writeRows(rows));
      }
      for (const register of outer.toReversed()) code.pop(register);
      code.bind(walked);
      for (const column of columns) code.addNumber(column, 8 * size);
      code.addNumber(a, 32);
    });
    const spare = row;
    code.argument(spare, args.sums);
    code.addNumber(spare, 64);
    code.store32(at(given, 4 * args.sums), spare);
    code.argument(spare, args.b);
    code.lea(spare, { base: spare, index: stride, scale: 8 });
    code.lea(spare, { base: spare, index: stride, scale: 8 });
    code.store32(at(given, 4 * args.b), spare);
  });
}
