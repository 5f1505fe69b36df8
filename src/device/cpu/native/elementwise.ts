/** y = f(x) and y = f(x, y), element by element, as kernels/cpu/elementwise.ts works them out. NaN goes in, NaN comes out. */
import { predicates } from "./assembler";
import { preparePower, writePower } from "./exp";
import { numbers, writeRun } from "./maps";
import { type Vector, ymm } from "./operands";
import type { Writer } from "./writer";

/** Vectors that a body may use beside its sources, which are in 0 and 1; what it holds throughout is in 8, 9, 14 and 15. */
const [a, b, c, d, e, f] = [ymm(2), ymm(3), ymm(4), ymm(5), ymm(6), ymm(7)];
const [mask, other] = [ymm(10), ymm(11)];

type Unary = (code: Writer, x: Vector, p: Vector, q: Vector) => Vector;
type Binary = (code: Writer, x: Vector, y: Vector) => Vector;

/** The order is that of OPERATION, see src/ops/elementwise.ts. Numbers p and q are those of the operation. */
const unary: Readonly<Record<string, Unary>> = {
  scale: (code, x, p) => op(x, () => code.vmulps(x, x, p)),
  shift: (code, x, p) => op(x, () => code.vaddps(x, x, p)),
  exp(code, x) {
    code.vmulps(x, x, code.constant(Math.LOG2E));
    writePower(code, a, x, b);
    return a;
  },
  log: writeLog,
  sigmoid(code, x) {
    writeExpOfMinusSize(code, c, x);
    // (x >= 0 ? 1 : e) / (1 + e): exp sees no positive number, so nothing overflows.
    code.vmovups(a, code.constant(1));
    code.vxorps(b, b, b);
    code.vcmpps(mask, b, x, predicates.lessOrEqual);
    code.vblendvps(b, c, a, mask);
    code.vaddps(a, a, c);
    return op(b, () => code.vdivps(b, b, a));
  },
  logSigmoid(code, x) {
    writeExpOfMinusSize(code, c, x);
    writeLogOnePlus(code, c);
    code.vxorps(a, a, a);
    code.vminps(x, a, x);
    return op(x, () => code.vsubps(x, x, c));
  },
  relu(code, x) {
    code.vxorps(a, a, a);
    return op(x, () => code.vmaxps(x, a, x));
  },
  square: (code, x) => op(x, () => code.vmulps(x, x, x)),
  sqrt: (code, x) => op(x, () => code.vsqrtps(x, x)),
  abs: (code, x) => op(x, () => code.vandps(x, x, code.constant(0x7fffffff, "bits"))),
  sign(code, x) {
    code.vxorps(a, a, a);
    code.vmovups(b, code.constant(-1));
    code.vcmpps(mask, x, a, predicates.less);
    code.vblendvps(c, x, b, mask);
    code.vmovups(b, code.constant(1));
    code.vcmpps(mask, a, x, predicates.less);
    return op(c, () => code.vblendvps(c, c, b, mask));
  },
  clamp(code, x, p, q) {
    code.vmaxps(x, p, x);
    return op(x, () => code.vminps(x, q, x));
  },
  inside(code, x, p, q) {
    code.vcmpps(a, p, x, predicates.lessOrEqual);
    code.vcmpps(b, x, q, predicates.lessOrEqual);
    code.vandps(a, a, b);
    return op(a, () => code.vandps(a, a, code.constant(1)));
  },
};

const binary: Readonly<Record<string, Binary>> = {
  add: (code, x, y) => op(x, () => code.vaddps(x, x, y)),
  subtract: (code, x, y) => op(x, () => code.vsubps(x, x, y)),
  multiply: (code, x, y) => op(x, () => code.vmulps(x, x, y)),
  divide: (code, x, y) => op(x, () => code.vdivps(x, x, y)),
  minimum: (code, x, y) => orNaN(code, x, () => code.vminps(a, x, y)),
  maximum: (code, x, y) => orNaN(code, x, () => code.vmaxps(a, x, y)),
  atMost(code, x, y) {
    code.vcmpps(a, x, y, predicates.lessOrEqual);
    return op(a, () => code.vandps(a, a, code.constant(1)));
  },
  above(code, x, y) {
    code.vcmpps(a, y, x, predicates.less);
    return op(a, () => code.vandps(a, a, code.constant(1)));
  },
};

/** Kernels of one source. */
export const unaries = Object.values(unary).map((body) => (code: Writer) => {
  preparePower(code);
  const [p, q] = numbers(code, 2) as [Vector, Vector];
  writeRun(code, { sources: 1, body: ([x]) => body(code, x!, p, q) });
});

/** Kernels of two. */
export const binaries = Object.values(binary).map((body) => (code: Writer) => {
  writeRun(code, { sources: 2, body: ([x, y]) => body(code, x!, y!) });
});

/** Where a result is once it is written. */
function op(result: Vector, write: () => void): Vector {
  write();
  return result;
}

/** What `write` puts into `a`, or x where that is NaN: minimum and maximum give their second operand there. */
function orNaN(code: Writer, x: Vector, write: () => void): Vector {
  write();
  code.vcmpps(mask, x, x, predicates.unordered);
  return op(a, () => code.vblendvps(a, a, x, mask));
}

/** to = exp(-|x|), where to is not a or b. x stays. */
function writeExpOfMinusSize(code: Writer, to: Vector, x: Vector): void {
  code.vorps(a, x, code.constant(-0x80000000, "bits"));
  code.vmulps(a, a, code.constant(Math.LOG2E));
  writePower(code, to, a, b);
}

/** x = log(1 + x) for x in [0, 1] = 2 artanh z, z = x / (2 + x): right where x is lost beside 1. */
function writeLogOnePlus(code: Writer, x: Vector): void {
  code.vaddps(a, x, code.constant(2));
  code.vdivps(x, x, a);
  code.vmulps(a, x, x);
  code.vmovups(b, code.constant(1 / 15));
  for (const divisor of [13, 11, 9, 7, 5, 3, 1]) code.vfmadd213ps(b, a, code.constant(1 / divisor));
  code.vaddps(x, x, x);
  code.vmulps(x, x, b);
}

/** The natural logarithm, as `log4` of kernels/cpu/math.ts: 2^n m, log m = 2 artanh((m - 1) / (m + 1)). */
function writeLog(code: Writer, x: Vector): Vector {
  const [bits, n, m, z, q, p] = [a, b, c, d, e, f];
  const small = other;
  // Subnormal numbers are made normal by 2^23.
  code.vmovups(n, code.constant(1.17549435e-38));
  code.vcmpps(small, x, n, predicates.less);
  code.vmulps(bits, x, code.constant(8388608));
  code.vblendvps(bits, x, bits, small);
  // Taking off the bits of sqrt(1/2) leaves n in the exponent's place, and m in [sqrt(1/2), sqrt(2)).
  code.vpsubd(n, bits, code.constant(0x3f3504f3, "bits"));
  code.vpsrad(n, n, 23);
  code.vpslld(m, n, 23);
  code.vpsubd(m, bits, m);
  code.vcvtdq2ps(n, n);
  code.vandps(small, small, code.constant(23));
  code.vsubps(n, n, small);
  code.vsubps(z, m, code.constant(1));
  code.vaddps(m, m, code.constant(1));
  code.vdivps(z, z, m);
  code.vmulps(q, z, z);
  code.vmovups(p, code.constant(1 / 9));
  for (const divisor of [7, 5, 3]) code.vfmadd213ps(p, q, code.constant(1 / divisor));
  code.vaddps(z, z, z);
  code.vmulps(q, z, q);
  code.vmulps(q, q, p);
  // log 2 in two parts, of which the first has so few bits that its product is exact.
  code.vmovups(p, code.constant(-2.1219444e-4));
  code.vfmadd231ps(q, n, p);
  code.vaddps(z, z, q);
  code.vmovups(p, code.constant(0.693359375));
  code.vfmadd231ps(z, n, p);
  // Infinity and NaN stay; 0 gives -Infinity; what is below gives NaN.
  code.vxorps(n, n, n);
  code.vmovups(p, code.constant(Number.NaN));
  code.vcmpps(mask, x, n, predicates.less);
  code.vblendvps(q, x, p, mask);
  code.vmovups(p, code.constant(Number.NEGATIVE_INFINITY));
  code.vcmpps(mask, x, n, predicates.equal);
  code.vblendvps(q, q, p, mask);
  code.vmovups(p, code.constant(Number.POSITIVE_INFINITY));
  code.vcmpps(mask, n, x, predicates.less);
  code.vcmpps(other, x, p, predicates.less);
  code.vandps(mask, mask, other);
  return op(q, () => code.vblendvps(q, q, z, mask));
}
