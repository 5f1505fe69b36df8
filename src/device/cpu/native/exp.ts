/** exp and GELU of eight floats, as kernels/cpu/math.ts works them out of four. NaN goes in, NaN comes out. */
import { type Vector, ymm } from "./operands";
import type { Writer } from "./writer";

// 2^t = 2^n 2^f with n the nearest integer; 2^f on [-1/2, 1/2] is a polynomial with the least relative error, 9e-8. In floats it is right
// to 1.8e-7. Below -126 it stays at 1.2e-38, above 127.9 at 3.2e38.
const SMALLEST = -126;
const LARGEST = 127.9;
// Adding 1.5 2^23 + 127 rounds to an integer; the low bits of the sum are then n + 127, the exponent of 2^n.
const ROUND = 12583039;
const COEFFICIENTS = [1.3264727121e-3, 9.6715126448e-3, 5.5507337435e-2, 2.4022242085e-1, 6.931469776e-1, 1];

/** Held throughout a kernel that uses `writePower`. */
const [smallest, largest] = [ymm(14), ymm(15)];

/** Before the first `writePower`. */
export function preparePower(code: Writer): void {
  code.vmovups(smallest, code.constant(SMALLEST));
  code.vmovups(largest, code.constant(LARGEST));
}

/** to = 2^t. `t` and `spare` are overwritten; all three are different. */
export function writePower(code: Writer, to: Vector, t: Vector, spare: Vector): void {
  // The second operand comes out where one is NaN.
  code.vmaxps(t, smallest, t);
  code.vminps(t, largest, t);
  code.vaddps(spare, t, code.constant(ROUND));
  code.vsubps(to, spare, code.constant(ROUND));
  code.vsubps(t, t, to);
  const [first, ...rest] = COEFFICIENTS;
  code.vmovups(to, code.constant(first!));
  for (const coefficient of rest) code.vfmadd213ps(to, t, code.constant(coefficient));
  code.vpslld(spare, spare, 23);
  code.vmulps(to, to, spare);
}

/** to = 1 + exp(-2 u) with u = sqrt(2/pi) (x + 0.044715 x^3): gelu x = x over this. `x` stays. */
export function writeGeluDivisor(code: Writer, to: Vector, x: Vector, [t, spare]: readonly [Vector, Vector]): void {
  // -2 u log2 e = x (a + b x^2)
  code.vmulps(t, x, x);
  code.vmovups(spare, code.constant(-0.10294324));
  code.vfmadd213ps(t, spare, code.constant(-2.30220819));
  code.vmulps(t, t, x);
  writePower(code, to, t, spare);
  code.vaddps(to, to, code.constant(1));
}
