// counts[slot, tokens[r]] += step, in place, where slot = streams[r, 0]: what penalties have seen. A slot past the last is none.
import { input, output, param, take } from "./job";

export function forward(job: usize): void {
  const rows = param(job, 0);
  const columns = param(job, 1);
  for (let r = take(job, 1); r < rows; r = take(job, 1)) {
    const token = load<u32>(input(job, 0) + (<usize>r << 2));
    const slot = load<u32>(input(job, 1) + <usize>r * 12);
    if (slot >= param(job, 2) || token >= columns) continue;
    const at = output(job) + ((<usize>slot * columns + token) << 2);
    store<u32>(at, load<u32>(at) + param(job, 3));
  }
}
