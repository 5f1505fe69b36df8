/** AdamW over a run of the slabs: kernels/cpu/adamw.ts, with what is the same for all elements worked out before. */
import { at, type Memory, r8, rax, rbx, rcx, rdi, rdx, rsi, type Vector, ymm } from "./operands";
import { given, type Writer } from "./writer";

/** The arguments, in the order of kernels/cpu/native.ts: addresses, then numbers. */
const [COUNT, WEIGHTS, FIRST, SECOND, GRADS, NUMBERS] = [1, 2, 3, 4, 5, 6];

/**
 * g = clip g;  m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2;  w = kept w - rate m / (sqrt(scale v) + epsilon)
 * with kept = 1 - lr decay, rate = lr / correction1, scale = 1 / correction2.
 */
export function writeAdamW(code: Writer): void {
  const [left, index, w, m, v, g] = [rax, rcx, rdi, rsi, rdx, rbx];
  const held = Array.from({ length: 9 }, (_, i) => ymm(6 + i));
  const [clip, beta1, rest1, beta2, rest2, scale, epsilon, rate, kept] = held as [
    Vector,
    Vector,
    Vector,
    Vector,
    Vector,
    Vector,
    Vector,
    Vector,
    Vector,
  ];
  held.forEach((vector, i) => {
    code.vbroadcastss(vector, at(given, 4 * (NUMBERS + i)));
  });
  const mask = ymm(15);
  code.argument(left, COUNT);
  code.address(w, WEIGHTS);
  code.address(m, FIRST);
  code.address(v, SECOND);
  code.address(g, GRADS);
  code.sub(index, index);
  const body = (whole: boolean) => {
    const place = (pointer: typeof w): Memory => ({ base: pointer, index });
    const load = (to: Vector, from: typeof w) =>
      whole ? code.vmovups(to, place(from)) : code.vloadMasked(to, mask, place(from));
    const store = (to: typeof w, from: Vector) =>
      whole ? code.vstore(place(to), from) : code.vstoreMasked(place(to), mask, from);
    const [grad, first, second, weight, spare] = [ymm(0), ymm(1), ymm(2), ymm(3), ymm(4)];
    load(grad, g);
    code.vmulps(grad, grad, clip);
    load(first, m);
    code.vmulps(spare, grad, rest1);
    code.vfmadd213ps(first, beta1, spare);
    store(m, first);
    load(second, v);
    code.vmulps(grad, grad, grad);
    code.vmulps(grad, grad, rest2);
    code.vfmadd213ps(second, beta2, grad);
    store(v, second);
    code.vmulps(second, second, scale);
    code.vsqrtps(second, second);
    code.vaddps(second, second, epsilon);
    code.vmulps(first, first, rate);
    code.vdivps(first, first, second);
    load(weight, w);
    code.vmulps(weight, weight, kept);
    code.vsubps(weight, weight, first);
    store(w, weight);
  };
  code.whileAtLeast(left, 8, () => {
    body(true);
    code.addNumber(index, 32);
  });
  code.test(left, left);
  code.unless("equal", () => {
    code.mask(mask, left, r8);
    body(false);
  });
}
