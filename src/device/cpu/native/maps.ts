/** Kernels that walk over runs of floats, eight at a time; what is left at the end by a mask. */
import { predicates } from "./assembler";
import { preparePower, writeGeluDivisor, writePower } from "./exp";
import { at, type Place, r8, rax, rbx, rcx, rdi, rdx, rsi, type Vector, ymm } from "./operands";
import { given, type Writer } from "./writer";

/** Argument 1: how many floats; argument 2: where the result goes; 3 and on: what is read. The order of kernels/cpu/native.ts. */
const [COUNT, RESULT, SOURCE] = [1, 2, 3];

/** Bytes by which memory is fetched before it is needed: what the arithmetic of a kernel leaves idle is otherwise spent waiting. */
const AHEAD = 1024;

interface Run {
  /** How many runs are read. */
  readonly sources: number;
  /** From one vector of each source, what is to be stored; null for nothing. `mask`: in the last vector, the floats that are there. */
  readonly body: (values: readonly Vector[], mask: Vector | null) => Vector | null;
}

/** Vectors 0 and on hold the sources, 13 the last mask. */
const mask = ymm(13);

export function writeRun(code: Writer, { sources, body }: Run): void {
  const [left, index, to] = [rax, rcx, rdi];
  const pointers = [rsi, rdx, rbx].slice(0, sources);
  const values = pointers.map((_, i) => ymm(i));
  code.argument(left, COUNT);
  code.address(to, RESULT);
  pointers.forEach((pointer, i) => {
    code.address(pointer, SOURCE + i);
  });
  code.sub(index, index);
  const place = (pointer: typeof to): Place => ({ base: pointer, index });
  code.whileAtLeast(left, 8, () => {
    for (const pointer of pointers) code.prefetch({ ...place(pointer), offset: AHEAD });
    code.prefetch({ ...place(to), offset: AHEAD });
    values.forEach((value, i) => {
      code.vmovups(value, place(pointers[i]!));
    });
    const result = body(values, null);
    if (result) code.vstore(place(to), result);
    code.addNumber(index, 32);
  });
  code.test(left, left);
  code.unless("equal", () => {
    code.mask(mask, left, r8);
    values.forEach((value, i) => {
      code.vloadMasked(value, mask, place(pointers[i]!));
    });
    const result = body(values, mask);
    if (result) code.vstoreMasked(place(to), mask, result);
  });
}

/** y = gelu x. */
export function writeGelu(code: Writer): void {
  preparePower(code);
  writeRun(code, {
    sources: 1,
    body: ([x]) => {
      const [divisor, t, spare] = [ymm(4), ymm(5), ymm(6)];
      writeGeluDivisor(code, divisor, x!, [t, spare]);
      code.vdivps(x!, x!, divisor);
      return x!;
    },
  });
}

/** dx = grad (g + x g (1 - g) 2 du),  g = gelu x / x,  2 du = 2 c + 6 c a x^2: see kernels/cpu/gelu.ts. */
export function writeGeluBackward(code: Writer): void {
  preparePower(code);
  writeRun(code, {
    sources: 2,
    body: ([x, grad]) => {
      const [g, t, spare, one] = [ymm(4), ymm(5), ymm(6), ymm(7)];
      writeGeluDivisor(code, g, x!, [t, spare]);
      code.vmovups(one, code.constant(1));
      code.vdivps(g, one, g);
      code.vmulps(t, x!, x!);
      code.vmovups(spare, code.constant(0.21406444882));
      code.vfmadd213ps(t, spare, code.constant(1.59576912161));
      code.vsubps(spare, one, g);
      code.vmulps(spare, spare, t);
      code.vmulps(t, x!, g);
      // g + x g (1 - g) 2 du
      code.vfmadd213ps(t, spare, g);
      code.vmulps(t, t, grad!);
      return t;
    },
  });
}

/** Arguments from `first` on, numbers, held in vectors 8 and on. */
export function numbers(code: Writer, count: number, first = SOURCE + 1): Vector[] {
  return Array.from({ length: count }, (_, i) => {
    code.vbroadcastss(ymm(8 + i), at(given, 4 * (first + i)));
    return ymm(8 + i);
  });
}

/** Where a kernel leaves sums: eight floats each, from this argument on. */
const SUMS = 8;

/** y = exp(factor x - less), or nothing is stored; and its sum by lanes: lane i has elements i, i + 8, ... */
export function writeExponentials(code: Writer, stored: boolean): void {
  preparePower(code);
  const [factor, less] = numbers(code, 2);
  const [y, t, spare, sum] = [ymm(4), ymm(5), ymm(6), ymm(7)];
  code.vxorps(sum, sum, sum);
  writeRun(code, {
    sources: 1,
    body: ([x], mask) => {
      code.vmulps(t, x!, factor!);
      code.vsubps(t, t, less!);
      code.vmulps(t, t, code.constant(Math.LOG2E));
      writePower(code, y, t, spare);
      if (mask) code.vandps(y, y, mask);
      code.vaddps(sum, sum, y);
      return stored ? y : null;
    },
  });
  code.vstore(at(given, 4 * SUMS), sum);
}

/** y = factor exp(x - less). */
export function writeScaledExp(code: Writer): void {
  preparePower(code);
  const [factor, less] = numbers(code, 2);
  const [y, t, spare] = [ymm(4), ymm(5), ymm(6)];
  writeRun(code, {
    sources: 1,
    body: ([x]) => {
      code.vsubps(t, x!, less!);
      code.vmulps(t, t, code.constant(Math.LOG2E));
      writePower(code, y, t, spare);
      code.vmulps(y, y, factor!);
      return y;
    },
  });
}

/** Sums by lanes of w = exp(x - less), of w (x - less) and of x - less. */
export function writeMoments(code: Writer): void {
  preparePower(code);
  const [, less] = numbers(code, 2);
  const [w, t, spare] = [ymm(4), ymm(5), ymm(6)];
  const sums = [ymm(7), ymm(10), ymm(11)];
  for (const sum of sums) code.vxorps(sum, sum, sum);
  writeRun(code, {
    sources: 1,
    body: ([x], mask) => {
      code.vsubps(x!, x!, less!);
      if (mask) code.vandps(x!, x!, mask);
      code.vmulps(t, x!, code.constant(Math.LOG2E));
      writePower(code, w, t, spare);
      if (mask) code.vandps(w, w, mask);
      code.vaddps(sums[0]!, sums[0]!, w);
      // Far below the weight is zero, and the logit may be infinite: their product must not be NaN.
      code.vmovups(t, code.constant(-104));
      code.vmaxps(t, t, x!);
      code.vmulps(t, t, w);
      code.vaddps(sums[1]!, sums[1]!, t);
      code.vaddps(sums[2]!, sums[2]!, x!);
      return null;
    },
  });
  sums.forEach((sum, i) => {
    code.vstore(at(given, 4 * (SUMS + 8 * i)), sum);
  });
}

/** y = p (y - less) factor, the gradient of a softmax: the sources are p and y. */
export function writeSoftmaxSlope(code: Writer): void {
  const [factor, less] = numbers(code, 2, SOURCE + 2) as [Vector, Vector];
  writeRun(code, {
    sources: 2,
    body: ([p, y]) => {
      code.vsubps(y!, y!, less);
      code.vmulps(p!, p!, factor);
      code.vmulps(y!, y!, p!);
      return y!;
    },
  });
}

/**
 * y = x / kept where a random number of [0, 1) is at least rate, else 0. The number is a hash of key + i, as kernels/cpu/math.ts has it (PCG's
 * output permutation). Arguments: key, rate, kept; the key has the run's first index in it.
 */
export function writeDropout(code: Writer): void {
  const [index, state, bits, eight] = [ymm(4), ymm(5), ymm(6), ymm(7)];
  const [key, rate, kept] = numbers(code, 3) as [Vector, Vector, Vector];
  code.vpaddd(index, key, code.constant([0, 1, 2, 3, 4, 5, 6, 7], "bits"));
  code.vmovups(eight, code.constant(8, "bits"));
  writeRun(code, {
    sources: 1,
    body: ([x]) => {
      code.vpmulld(state, index, code.constant(747796405, "bits"));
      code.vpaddd(state, state, code.constant(2891336453 | 0, "bits"));
      code.vpsrld(bits, state, 28);
      code.vpaddd(bits, bits, code.constant(4, "bits"));
      code.vpsrlvd(bits, state, bits);
      code.vxorps(bits, bits, state);
      code.vpmulld(bits, bits, code.constant(277803737, "bits"));
      code.vpsrld(state, bits, 22);
      code.vxorps(bits, bits, state);
      // The 24 high bits are a float exactly.
      code.vpsrld(bits, bits, 8);
      code.vcvtdq2ps(bits, bits);
      code.vmulps(bits, bits, code.constant(1 / 16777216));
      code.vcmpps(bits, rate, bits, predicates.lessOrEqual);
      code.vdivps(x!, x!, kept);
      code.vandps(x!, x!, bits);
      code.vpaddd(index, index, eight);
      return x!;
    },
  });
}
