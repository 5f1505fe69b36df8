/**
 * C = A B (+ what was there) for a block of C and up to DEPTH of the inner dimension. A tile of up to 6 rows and 16 columns of C is held
 * in twelve registers while it walks along the inner dimension, as in BLIS (https://doi.org/10.1145/2764454). B is packed in panels of 16
 * columns; A is read where it lies, or packed in strips of 6 rows. An element is one chain of fused multiply-adds from 0 in the order of
 * the inner dimension, then added to what is there: so its bits do not depend on the tile that it falls into.
 */
import {
  at,
  type Memory,
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
import { given, type Writer } from "./writer";

/** Rows of a tile. */
export const ROWS = 6;
/** Bytes between panels, and between strips: without them all would begin in one set of the first cache's lines. */
export const PANEL_GAP = 64;
export const STRIP_GAP = 64;
/** Steps along the inner dimension that are written out one after another. */
const UNROLLED = 4;

/** The arguments, in the order of kernels/cpu/native.ts. Strides are in bytes. */
const args = { rows: 1, columns: 2, depth: 3, a: 4, aRow: 5, b: 6, from: 7, fromRow: 8, c: 9, cRow: 10 };

/** Of the panel under way: its part of B, and the columns that are left with it. */
const [panel, columnsLeft] = [r13, rbx];
/** Of the strip under way: its rows of A, of C and of what is added; the rows that are left with it. */
const [a, c, from, rowsLeft] = [r12, rdi, rsi, rbp];
const [aRow, cRow, fromRow] = [r8, r9, r10];
/** Inside a tile: rows 0 and 3 of A, the panel's next 16 floats, the steps that are left. */
const [a0, a3, b, steps] = [rax, rdx, rcx, r11];

const sums = (row: number): [Vector, Vector] => [ymm(2 * row), ymm(2 * row + 1)];
const [b0, b1, spread, spare] = [ymm(12), ymm(13), ymm(14), ymm(15)];

/** The kernel. `packed`: A lies in strips, each step's floats together; else in rows. */
export function writeProduct(code: Writer, packed: boolean): void {
  code.address(panel, args.b);
  code.argument(columnsLeft, args.columns);
  for (const [register, i] of [
    [aRow, args.aRow],
    [cRow, args.cRow],
    [fromRow, args.fromRow],
  ] as const)
    code.argument(register, i);
  const nextPanel = code.label();
  code.bind(nextPanel);
  writePanel(code, packed);
  code.argument(rax, args.depth);
  code.shiftLeft(rax, 6);
  code.addNumber(rax, PANEL_GAP);
  code.add(panel, rax);
  advance(code, args.c);
  code.argument(rax, args.from);
  code.test(rax, rax);
  code.unless("equal", () => advance(code, args.from));
  code.subNumber(columnsLeft, 16);
  code.jumpIf("above", nextPanel);
}

function advance(code: Writer, i: number): void {
  code.argument(rax, i);
  code.addNumber(rax, 64);
  code.store32(at(given, 4 * i), rax);
}

/** All rows times one panel. */
function writePanel(code: Writer, packed: boolean): void {
  code.address(a, args.a);
  code.address(c, args.c);
  code.argument(rowsLeft, args.rows);
  // 0 stays 0: nothing is to be added.
  code.argument(from, args.from);
  code.test(from, from);
  code.unless("equal", () => code.address(from, args.from));

  const strip = (rows: number) => {
    writeTile(code, rows, packed);
    if (packed) {
      code.argument(rax, args.depth);
      code.lea(rax, { base: rax, index: rax, scale: 2 });
      code.lea(a, { base: a, index: rax, scale: 8, offset: STRIP_GAP });
    } else byRows(code, a, aRow, rows);
    byRows(code, c, cRow, rows);
    byRows(code, from, fromRow, rows);
    code.subNumber(rowsLeft, rows);
  };
  const [next, end] = [code.label(), code.label()];
  code.bind(next);
  code.cmpNumber(rowsLeft, ROWS);
  code.unless("below", () => {
    if (!packed) {
      // Seven or eight rows are two short strips: one of six would leave one that waits for its sums.
      const [whole, short] = [code.label(), code.label()];
      code.cmpNumber(rowsLeft, ROWS + 2);
      code.jumpIf("above", whole);
      code.cmpNumber(rowsLeft, ROWS);
      code.jumpIf("above", short);
      code.bind(whole);
      strip(ROWS);
      code.jump(next);
      code.bind(short);
      strip(4);
    } else strip(ROWS);
    code.jump(next);
  });
  for (let rows = ROWS - 1; rows > 0; rows--) {
    code.cmpNumber(rowsLeft, rows);
    code.unless("notEqual", () => {
      strip(rows);
      code.jump(end);
    });
  }
  code.bind(end);
}

/** pointer += rows * stride. */
function byRows(code: Writer, pointer: typeof c, stride: typeof cRow, rows: number): void {
  let left = rows;
  for (const scale of [4, 2, 1] as const) {
    if (!(left & scale)) continue;
    code.lea(pointer, { base: pointer, index: stride, scale });
    left -= scale;
  }
}

function writeTile(code: Writer, rows: number, packed: boolean): void {
  const element = (row: number, step: number): Memory => {
    if (packed) return at(a0, 4 * (ROWS * step + row));
    return { ...ofRow(row < 3 ? a0 : a3, aRow, row % 3), offset: 4 * step };
  };
  const step = (k: number) => {
    code.vmovups(b0, at(b, 64 * k));
    code.vmovups(b1, at(b, 64 * k + 32));
    for (let row = 0; row < rows; row++) {
      code.vbroadcastss(spread, element(row, k));
      code.vfmadd231ps(sums(row)[0], spread, b0);
      code.vfmadd231ps(sums(row)[1], spread, b1);
    }
  };
  const walk = (count: number) => () => {
    for (let k = 0; k < count; k++) step(k);
    code.addNumber(a0, 4 * count * (packed ? ROWS : 1));
    if (!packed && rows > 3) code.addNumber(a3, 4 * count);
    code.addNumber(b, 64 * count);
  };
  for (let row = 0; row < rows; row++) for (const sum of sums(row)) code.vxorps(sum, sum, sum);
  code.mov(a0, a);
  if (!packed && rows > 3) {
    code.lea(a3, { base: aRow, index: aRow, scale: 2 });
    code.add(a3, a);
  }
  code.mov(b, panel);
  code.argument(steps, args.depth);
  code.whileAtLeast(steps, UNROLLED, walk(UNROLLED));
  code.whileAtLeast(steps, 1, walk(1));
  writeSums(code, rows);
}

/** The row-th of up to three rows from a pointer on. */
function ofRow(pointer: typeof c, stride: typeof cRow, row: number): Memory {
  return row === 0 ? at(pointer) : { base: pointer, index: stride, scale: row === 1 ? 1 : 2 };
}

/** The tile to C, with what is to be added; only the columns that are there. */
function writeSums(code: Writer, rows: number): void {
  const [c3, from3] = [rax, rdx];
  const place = (first: typeof c, third: typeof c, stride: typeof cRow, row: number, half: number): Memory => ({
    ...ofRow(row < 3 ? first : third, stride, row % 3),
    offset: 32 * half,
  });
  const each = (f: (sum: Vector, half: number, to: Memory, added: Memory) => void) => {
    for (let row = 0; row < rows; row++) {
      sums(row).forEach((sum, half) => {
        f(sum, half, place(c, c3, cRow, row, half), place(from, from3, fromRow, row, half));
      });
    }
  };
  if (rows > 3) {
    code.lea(c3, { base: cRow, index: cRow, scale: 2 });
    code.add(c3, c);
    code.lea(from3, { base: fromRow, index: fromRow, scale: 2 });
    code.add(from3, from);
  }
  const end = code.label();
  code.cmpNumber(columnsLeft, 16);
  code.unless("below", () => {
    code.test(from, from);
    code.unless("equal", () => each((sum, _, __, added) => code.vaddps(sum, sum, added)));
    each((sum, _, to) => code.vstore(to, sum));
    code.jump(end);
  });
  const masks = [b0, b1];
  code.mask(b0, columnsLeft, rcx);
  code.mask(b1, columnsLeft, rcx, 32);
  code.test(from, from);
  code.unless("equal", () =>
    each((sum, half, _, added) => {
      code.vloadMasked(spare, masks[half]!, added);
      code.vaddps(sum, sum, spare);
    }),
  );
  each((sum, half, to) => code.vstoreMasked(to, masks[half]!, sum));
  code.bind(end);
}
