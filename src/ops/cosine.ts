/** The cosine of the angle between vectors. */
import type { Tensor } from "../tensor/tensor";
import { divide, maximum, multiply, sqrt, square } from "./elementwise";
import { fill } from "./fill";
import { rowSum } from "./reduce";

/** Lengths count as at least this, as in torch's cosine_similarity. */
const SHORTEST = 1e-8;

/** a b / (|a| |b|) for each row: [N, C], [N, C] -> [N]. */
export function cosine(a: Tensor, b: Tensor): Tensor {
  return divide(divide(rowSum(multiply(a, b)), lengths(a)), lengths(b));
}

/** The root comes last, so that its gradient is never that of 0. */
function lengths(x: Tensor): Tensor {
  return sqrt(maximum(rowSum(square(x)), fill([1], SHORTEST ** 2)));
}
