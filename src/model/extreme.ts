/** The least or the most of what is told of a micro-batch, as a part of a step's mean. */
import { add } from "../ops/add";
import { atMost, multiply, scale } from "../ops/elementwise";
import { fill } from "../ops/fill";
import { slice } from "../ops/parts";
import { sum } from "../ops/reduce";
import { sort } from "../ops/sort";
import { sizeOf } from "../tensor/shape";
import { detach, type Tensor, view } from "../tensor/tensor";

/** [1]: of x where its share is above 0, times the sum of all shares: over a step's micro-batches it adds up to their mean. Both [n]. */
export function extreme(x: Tensor, shares: Tensor, which: "least" | "most"): Tensor {
  const count = sizeOf(shares.shape);
  const absent = scale(atMost(shares, fill([count], 0)), which === "least" ? 1e30 : -1e30);
  const sorted = sort(view(add(detach(x), absent), [1, count]));
  const found = slice(sorted, { first: which === "least" ? 0 : count - 1, count: 1 });
  // Where nothing counts the shares are 0, and so is what is told: what stands for the absent is finite.
  return multiply(found, sum(shares));
}
