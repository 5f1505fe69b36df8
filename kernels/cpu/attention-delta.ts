// D[b h, t] = dO[t] . O[t] for each head: the row term of the softmax's gradient. A unit is one token.
import { groups, input, output, param, take } from "./job";
import { dot } from "./math";

export function forward(job: usize): void {
  const tokens = param(job, 0);
  const heads = param(job, 1);
  const width = param(job, 2);
  const rows = (groups(job, 1) / heads) * tokens;
  for (let row = take(job, 1); row < rows; row = take(job, 1)) {
    const sequence = row / tokens;
    for (let head: u32 = 0; head < heads; head++) {
      const at = ((<usize>row * heads + head) * width) << 2;
      const y = ((<usize>(sequence * heads + head) * tokens + (row % tokens)) << 2);
      store<f32>(output(job) + y, dot(input(job, 0) + at, input(job, 1) + at, width));
    }
  }
}
