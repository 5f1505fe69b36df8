// Rows [rows, columns] in ascending order, equals in the order of their places.
//   ranks   rank[r, c] = how many elements of the row come before x[r, c]
//   place   y[r, rank[r, c]] = x[r, c]
//   take    y[r, c] = x[r, rank[r, c]]
import { input, output, param, take as takeUnits } from "./job";

const GRAIN: u32 = 64;

/** Bits of a float as a number of the same order, in which 0 and -0 are equal and NaN has a place at an end. */
@inline
function key(at: usize): u32 {
  const bits = load<u32>(at);
  if (bits << 1 == 0) return 0x80000000;
  return bits >> 31 ? ~bits : bits | 0x80000000;
}

export function ranks(job: usize): void {
  const columns = param(job, 1);
  const count = param(job, 0) * columns;
  const x = input(job, 0);
  for (let from = takeUnits(job, GRAIN); from < count; from = takeUnits(job, GRAIN)) {
    const end = min(from + GRAIN, count);
    for (let i = from; i < end; i++) {
      const at = x + (<usize>i << 2);
      const first = x + (<usize>(i - (i % columns)) << 2);
      const last = first + (<usize>columns << 2);
      const mine = key(at);
      let rank: u32 = 0;
      for (let other = first; other < at; other += 4) rank += u32(key(other) <= mine);
      for (let other = at; other < last; other += 4) rank += u32(key(other) < mine);
      store<u32>(output(job) + (<usize>i << 2), rank);
    }
  }
}

export function place(job: usize): void {
  moved(job, true);
}

export function take(job: usize): void {
  moved(job, false);
}

@inline
function moved(job: usize, to: bool): void {
  const columns = param(job, 1);
  const count = param(job, 0) * columns;
  const x = input(job, 0);
  const positions = input(job, 1);
  const y = output(job);
  for (let from = takeUnits(job, GRAIN); from < count; from = takeUnits(job, GRAIN)) {
    const end = min(from + GRAIN, count);
    for (let i = from; i < end; i++) {
      const other = i - (i % columns) + load<u32>(positions + (<usize>i << 2));
      store<u32>(y + (<usize>(to ? other : i) << 2), load<u32>(x + (<usize>(to ? i : other) << 2)));
    }
  }
}
