// Rows of a table, by id.
//   forward   y[n] = table[ids[n]]
//   scatter   table[id] += sum of x[n] over all n with ids[n] = id, in place, in the order of n. A unit is a run of columns.
import { input, output, param, take } from "./job";
import { storeFirst } from "./math";

const COLUMNS: u32 = 64;

export function forward(job: usize): void {
  const rows = param(job, 0);
  const width: usize = <usize>param(job, 1) << 2;
  const last = param(job, 2) - 1;
  const table = input(job, 0);
  const ids = input(job, 1);
  const y = output(job);
  for (let from = take(job, 16); from < rows; from = take(job, 16)) {
    const end = min(from + 16, rows);
    for (let n = from; n < end; n++) {
      const id = min(load<u32>(ids + (<usize>n << 2)), last);
      memory.copy(y + <usize>n * width, table + <usize>id * width, width);
    }
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
      const id = load<u32>(ids + (<usize>n << 2));
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
