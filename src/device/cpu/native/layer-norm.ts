/** Layer norm of rows: kernels/cpu/layer-norm.ts. Sums add up in eight lanes, and the lanes in a fixed order. */
import {
  at,
  type Memory,
  type Register,
  r8,
  r9,
  r10,
  r11,
  r12,
  r13,
  rax,
  rbx,
  rcx,
  rdi,
  rdx,
  rsi,
  type Vector,
  ymm,
} from "./operands";
import { given, type Writer } from "./writer";

/** The arguments, in the order of kernels/cpu/native.ts. `width`: the columns as a float. */
const args = { rows: 1, columns: 2, x: 3, y: 4, statistics: 5, scale: 6, shift: 7, grad: 7, width: 8, epsilon: 9 };

const [mean, rstd, width, spare, mask] = [ymm(12), ymm(13), ymm(11), ymm(14), ymm(15)];
const [x, y, statistic, scale, other] = [rsi, rdi, rdx, rbx, r10];
const [rowsLeft, left, index, rowBytes] = [r11, rax, rcx, r9];

/** The next rows of x and y, fetched while one is normalised: until its mean is known nothing else is to be done. */
const [nextX, nextY] = [r12, r13];

interface Pass {
  /** Whether the next rows are fetched on the way. */
  readonly ahead?: boolean;
  /** The rows and the vectors that are read, into vectors 0 and on. */
  readonly from: readonly Register[];
  /** What is stored to y, or null. Where there is a mask, sums are to be of what it shows alone. `turn`: 0 to 3, for sums that take turns. */
  readonly body: (values: readonly Vector[], only: Vector | null, turn: number) => Vector | null;
}

/** A pass over the columns of a row. */
function pass(code: Writer, { ahead = false, from, body }: Pass): void {
  const values = from.map((_, i) => ymm(i));
  const place = (pointer: Register): Memory => ({ base: pointer, index });
  code.argument(left, args.columns);
  code.sub(index, index);
  const vectors = (count: number) => () => {
    for (let turn = 0; turn < count; turn++) {
      if (ahead) for (const next of [nextX, nextY]) code.prefetch(place(next));
      values.forEach((value, i) => {
        code.vmovups(value, place(from[i]!));
      });
      const result = body(values, null, turn);
      if (result) code.vstore(place(y), result);
      code.addNumber(index, 32);
    }
  };
  code.whileAtLeast(left, 8 * TURNS, vectors(TURNS));
  code.whileAtLeast(left, 8, vectors(1));
  code.test(left, left);
  code.unless("equal", () => {
    code.mask(mask, left, r8);
    values.forEach((value, i) => {
      code.vloadMasked(value, mask, place(from[i]!));
    });
    const result = body(values, mask, 0);
    if (result) code.vstoreMasked(place(y), mask, result);
  });
}

/** So many sums are added to in turn, so that none waits for itself. */
const TURNS = 4;

/** One sum of those that took turns, in its first. */
function joined(code: Writer, sums: readonly Vector[]): Vector {
  const [a, b, c, d] = sums as [Vector, Vector, Vector, Vector];
  code.vaddps(a, a, b);
  code.vaddps(c, c, d);
  code.vaddps(a, a, c);
  return a;
}

/** The sum of the lanes, in each of them: halves, then pairs, then neighbours. */
function sumLanes(code: Writer, sum: Vector): void {
  code.vperm2f128(spare, sum, sum, 1);
  code.vaddps(sum, sum, spare);
  code.vshufps(spare, sum, sum, 0x4e);
  code.vaddps(sum, sum, spare);
  code.vshufps(spare, sum, sum, 0xb1);
  code.vaddps(sum, sum, spare);
}

/** `body` for each row, with x, y and statistic at it. */
function rows(code: Writer, others: readonly [Register, number][], body: () => void): void {
  code.address(x, args.x);
  code.address(y, args.y);
  code.address(statistic, args.statistics);
  code.address(scale, args.scale);
  for (const [register, i] of others) code.address(register, i);
  code.vbroadcastss(width, at(given, 4 * args.width));
  code.argument(rowBytes, args.columns);
  code.shiftLeft(rowBytes, 2);
  code.argument(rowsLeft, args.rows);
  code.whileAtLeast(rowsLeft, 1, () => {
    code.lea(nextX, { base: x, index: rowBytes });
    code.lea(nextY, { base: y, index: rowBytes });
    body();
    code.add(x, rowBytes);
    code.add(y, rowBytes);
    code.addNumber(statistic, 8);
  });
}

/** Mean and rstd of each row, where asked for, and y = (x - mean) rstd scale + shift, where asked for. */
export function writeLayerNorm(code: Writer, asked: { statistics: boolean; normalised: boolean }): void {
  rows(code, [[other, args.shift]], () => {
    if (asked.statistics) writeStatistics(code);
    else {
      code.vbroadcastss(mean, at(statistic));
      code.vbroadcastss(rstd, at(statistic, 4));
    }
    if (!asked.normalised) return;
    pass(code, {
      ahead: true,
      from: [x, scale, other],
      body: ([value, factor, added]) => {
        code.vsubps(value!, value!, mean);
        code.vmulps(value!, value!, rstd);
        code.vfmadd213ps(value!, factor!, added!);
        return value!;
      },
    });
  });
}

function writeStatistics(code: Writer): void {
  const sums = [ymm(4), ymm(5), ymm(6), ymm(7)];
  for (const one of sums) code.vxorps(one, one, one);
  pass(code, {
    from: [x],
    body: ([value], _, turn) => {
      code.vaddps(sums[turn]!, sums[turn]!, value!);
      return null;
    },
  });
  const sum = joined(code, sums);
  sumLanes(code, sum);
  code.vdivps(mean, sum, width);
  for (const one of sums) code.vxorps(one, one, one);
  pass(code, {
    from: [x],
    body: ([value], only, turn) => {
      code.vsubps(value!, value!, mean);
      if (only) code.vandps(value!, value!, only);
      code.vfmadd231ps(sums[turn]!, value!, value!);
      return null;
    },
  });
  joined(code, sums);
  sumLanes(code, sum);
  code.vdivps(sum, sum, width);
  code.vbroadcastss(spare, at(given, 4 * args.epsilon));
  code.vaddps(sum, sum, spare);
  code.vsqrtps(sum, sum);
  code.vmovups(rstd, code.constant(1));
  code.vdivps(rstd, rstd, sum);
  code.vstore1(at(statistic), mean);
  code.vstore1(at(statistic, 4), rstd);
}

/** dx = rstd (g - mean(g) - xhat mean(g xhat)),  g = grad scale,  xhat = (x - mean) rstd. */
export function writeLayerNormBackward(code: Writer): void {
  const grad = other;
  const [sum, product] = [ymm(4), ymm(5)];
  rows(code, [[grad, args.grad]], () => {
    code.vbroadcastss(mean, at(statistic));
    code.vbroadcastss(rstd, at(statistic, 4));
    code.vxorps(sum, sum, sum);
    code.vxorps(product, product, product);
    pass(code, {
      from: [x, scale, grad],
      // Behind the last column the gradient is 0, and so is what it adds.
      body: ([value, factor, g]) => {
        code.vsubps(value!, value!, mean);
        code.vmulps(value!, value!, rstd);
        code.vmulps(g!, g!, factor!);
        code.vaddps(sum, sum, g!);
        code.vfmadd231ps(product, g!, value!);
        return null;
      },
    });
    for (const total of [sum, product]) {
      sumLanes(code, total);
      code.vdivps(total, total, width);
    }
    pass(code, {
      ahead: true,
      from: [x, scale, grad],
      body: ([value, factor, g]) => {
        code.vsubps(value!, value!, mean);
        code.vmulps(value!, value!, rstd);
        code.vmulps(g!, g!, factor!);
        code.vsubps(g!, g!, sum);
        // g - xhat mean(g xhat)
        code.vfnmadd213ps(value!, product, g!);
        code.vmulps(value!, value!, rstd);
        return value!;
      },
    });
    code.add(grad, rowBytes);
  });
}
