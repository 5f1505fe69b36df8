// counts[b, tokens[b]] += step, in place: what penalties have seen.
import { input, output, param, take } from "./job";

export function forward(job: usize): void {
  const rows = param(job, 0);
  const columns = param(job, 1);
  for (let b = take(job, 1); b < rows; b = take(job, 1)) {
    const token = load<u32>(input(job, 0) + (<usize>b << 2));
    if (token >= columns) continue;
    const at = output(job) + ((<usize>b * columns + token) << 2);
    store<u32>(at, load<u32>(at) + param(job, 2));
  }
}
