// Rows of a table, by id. The table holds the rows from `first` on.
//   forward   y[n] = table[ids[n] - first]. With PART: y[n] += it, where that row is in the table.
//   scatter   table[id - first] += sum of x[n] over all n with ids[n] = id, in place, in the order of n. A unit is a run of columns.
import { constant, STORED, input, output, PART, param, take } from "./job";
import { FLOAT32, isQuantised, load4, storeFirst } from "./math";
import { expand } from "./quantised";

const COLUMNS: u32 = 64;

export function forward(job: usize): void {
  const rows = param(job, 0);
  const width: usize = <usize>param(job, 1) << 2;
  const tableRows = param(job, 2);
  const first = param(job, 3);
  const part = constant(job, PART) != 0;
  const kind = constant(job, STORED);
  const table = input(job, 0);
  const ids = input(job, 1);
  const y = output(job);
  for (let from = take(job, 16); from < rows; from = take(job, 16)) {
    const end = min(from + 16, rows);
    for (let n = from; n < end; n++) {
      const row = load<u32>(ids + (<usize>n << 2)) - first;
      if (part && row >= tableRows) continue;
      const to = y + <usize>n * width;
      const at = <usize>min(row, tableRows - 1) * width;
      if (isQuantised(kind)) {
        // A part of a table is never quantised.
        const columns = <u32>(width >> 2);
        expand(table, kind, <usize>tableRows * columns, columns, <usize>min(row, tableRows - 1) * columns, columns, to);
      } else if (kind != FLOAT32) addRow(table + (at >> 1), to, width, kind, part);
      else if (part) addRow(table + at, to, width, FLOAT32, true);
      else memory.copy(to, table + at, width);
    }
  }
}

/** A row of floats or 16-bit numbers, `width` bytes long as floats, onto what is there or in place of it. */
function addRow(from: usize, to: usize, width: usize, kind: u32, onto: bool): void {
  for (let at: usize = 0; at < width; at += 16) {
    const v = load4(from + (kind == FLOAT32 ? at : at >> 1), kind);
    storeFirst(to + at, onto ? f32x4.add(v128.load(to + at), v) : v, <u32>(width - at) >> 2);
  }
}

export function scatter(job: usize): void {
  const rows = param(job, 0);
  const columns = param(job, 1);
  const tableRows = param(job, 2);
  const width: usize = <usize>columns << 2;
  const x = input(job, 0);
  const ids = input(job, 1);
  const table = output(job);
  for (let from = take(job, COLUMNS); from < columns; from = take(job, COLUMNS)) {
    const end = min(from + COLUMNS, columns);
    for (let n: u32 = 0; n < rows; n++) {
      const id = load<u32>(ids + (<usize>n << 2)) - param(job, 3);
      if (id >= tableRows) continue;
      const source = x + <usize>n * width;
      const target = table + <usize>id * width;
      for (let c = from; c < end; c += 4) {
        const at: usize = <usize>c << 2;
        storeFirst(target + at, f32x4.add(v128.load(target + at), v128.load(source + at)), end - c);
      }
    }
  }
}
