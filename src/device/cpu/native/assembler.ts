/**
 * An assembler of x86-64 with AVX2, FMA and F16C: a method an instruction, operands in Intel's order. Encodings: Intel 64 and IA-32
 * Architectures Software Developer's Manual, volume 2. Vectors are of 256 bits where nothing else is said.
 */
import { Code, type Encoding } from "./code";
import { type Label, little, type Memory, type Register, rexOf, type Vector } from "./operands";

/** How flags are asked: of a comparison of unsigned numbers. */
const conditions = {
  below: 0x2,
  aboveOrEqual: 0x3,
  equal: 0x4,
  notEqual: 0x5,
  belowOrEqual: 0x6,
  above: 0x7,
} as const;

export type Condition = keyof typeof conditions;

/** The predicates of vcmpps. NaN satisfies only the last, which asks for it. */
export const predicates = { equal: 0, less: 1, lessOrEqual: 2, unordered: 3 } as const;

/** to = first OP second. */
const three = {
  vaddps: [0, 1, 0x58],
  vsubps: [0, 1, 0x5c],
  vmulps: [0, 1, 0x59],
  vdivps: [0, 1, 0x5e],
  /** The second operand where either is NaN. */
  vmaxps: [0, 1, 0x5f],
  vminps: [0, 1, 0x5d],
  vandps: [0, 1, 0x54],
  vorps: [0, 1, 0x56],
  vxorps: [0, 1, 0x57],
  vunpcklps: [0, 1, 0x14],
  vunpckhps: [0, 1, 0x15],
  vunpcklpd: [1, 1, 0x14],
  vunpckhpd: [1, 1, 0x15],
  vpaddd: [1, 1, 0xfe],
  vpsubd: [1, 1, 0xfa],
  /** The lower 32 bits of each product. */
  vpmulld: [1, 2, 0x40],
  /** Each number of first by as many bits as second says, zeros from above. */
  vpsrlvd: [1, 2, 0x45],
  /** to = to + first * second. */
  vfmadd231ps: [1, 2, 0xb8],
  /** to = second - to * first. */
  vfnmadd213ps: [1, 2, 0xac],
  /** to = to * first + second. */
  vfmadd213ps: [1, 2, 0xa8],
} as const satisfies Readonly<Record<string, Encoding>>;

/** to = OP(from). */
const two = {
  vmovups: [0, 1, 0x10],
  vsqrtps: [0, 1, 0x51],
  vcvtdq2ps: [0, 1, 0x5b],
  /** One float in all eight places. */
  vbroadcastss: [1, 2, 0x18],
  /** Eight 16-bit numbers of 128 bits, widened by zeros. */
  vpmovzxwd: [1, 2, 0x33],
  /** Eight float16s of 128 bits. */
  vcvtph2ps: [1, 2, 0x13],
} as const satisfies Readonly<Record<string, Encoding>>;

/** to = first OP second, with a number that says how. */
const threeAndNumber = {
  vshufps: [0, 1, 0xc6],
  vcmpps: [0, 1, 0xc2],
  vperm2f128: [1, 3, 0x06],
} as const satisfies Readonly<Record<string, Encoding>>;

/** Shifts of each 32-bit number by a number of bits: the digit that stands for the opcode. */
const shifts = { vpslld: 6, vpsrld: 2, vpsrad: 4 } as const;

type Methods = {
  readonly [K in keyof typeof three]: (to: Vector, first: Vector, second: Vector | Memory) => void;
} & { readonly [K in keyof typeof two]: (to: Vector, from: Vector | Memory) => void } & {
  readonly [K in keyof typeof threeAndNumber]: (
    to: Vector,
    first: Vector,
    second: Vector | Memory,
    number: number,
  ) => void;
} & { readonly [K in keyof typeof shifts]: (to: Vector, from: Vector, bits: number) => void };

export type Assembler = Methods & ReturnType<typeof others>;

export function assembler(): Assembler {
  const code = new Code();
  const mapped = <T extends object>(codes: T, method: (op: never) => unknown) =>
    Object.fromEntries(Object.entries(codes).map(([name, op]) => [name, method(op as never)]));
  const methods = {
    ...mapped(three, (op: Encoding) => (to: Vector, first: Vector, second: Vector | Memory) => {
      code.vex(op, to, first.vector, second);
    }),
    ...mapped(two, (op: Encoding) => (to: Vector, from: Vector | Memory) => code.vex(op, to, 0, from)),
    ...mapped(
      threeAndNumber,
      (op: Encoding) => (to: Vector, first: Vector, second: Vector | Memory, number: number) => {
        code.vex(op, to, first.vector, second, [number]);
      },
    ),
    ...mapped(shifts, (digit: number) => (to: Vector, from: Vector, bits: number) => {
      code.vex([1, 1, 0x72], { vector: digit }, to.vector, from, [bits]);
    }),
  };
  return { ...methods, ...others(code) } as Assembler;
}

/** The instructions that have a form of their own. */
function others(code: Code) {
  const integer = code.integer.bind(code);
  /** add, sub, cmp and the like with a number: /digit. */
  const withNumber = (digit: number, to: Register, number: number) => {
    const short = number >= -128 && number < 128;
    integer(short ? 0x83 : 0x81, digit, to, { behind: short ? [number & 0xff] : little(number) });
  };
  return {
    label: (): Label => ({ at: null }),
    bind: (label: Label) => code.bind(label),
    mov: (to: Register, from: Register) => integer(0x89, from.register, to),
    /** Its lower 32 bits; the upper ones become 0. */
    mov32: (to: Register, from: Register) => integer(0x89, from.register, to, { wide: false }),
    /** A number from 0 to 2^31 - 1. */
    movNumber: (to: Register, number: number) => integer(0xc7, 0, to, { behind: little(number) }),
    load: (to: Register, from: Memory) => integer(0x8b, to.register, from),
    store: (to: Memory, from: Register) => integer(0x89, from.register, to),
    /** 32 bits; the upper ones become 0. */
    load32: (to: Register, from: Memory) => integer(0x8b, to.register, from, { wide: false }),
    store32: (to: Memory, from: Register) => integer(0x89, from.register, to, { wide: false }),
    lea: (to: Register, from: Memory) => integer(0x8d, to.register, from),
    add: (to: Register, from: Register) => integer(0x01, from.register, to),
    addNumber: (to: Register, number: number) => withNumber(0, to, number),
    sub: (to: Register, from: Register) => integer(0x29, from.register, to),
    subNumber: (to: Register, number: number) => withNumber(5, to, number),
    andNumber: (to: Register, number: number) => withNumber(4, to, number),
    cmpNumber: (first: Register, number: number) => withNumber(7, first, number),
    test: (first: Register, second: Register) => integer(0x85, second.register, first),
    shiftLeft: (to: Register, bits: number) => integer(0xc1, 4, to, { behind: [bits] }),
    shiftRight: (to: Register, bits: number) => integer(0xc1, 5, to, { behind: [bits] }),
    push: (from: Register) => code.push(...rexOf(0, undefined, from.register), 0x50 | (from.register & 7)),
    pop: (to: Register) => code.push(...rexOf(0, undefined, to.register), 0x58 | (to.register & 7)),
    jump(label: Label): void {
      code.push(0xe9);
      code.distance(label);
    },
    jumpIf(condition: Condition, label: Label): void {
      code.push(0x0f, 0x80 | conditions[condition]);
      code.distance(label);
    },
    /** To the address in a register. */
    jumpTo: (target: Register) => integer(0xff, 4, target, { wide: false }),
    ret: () => code.push(0xc3),
    cpuid: () => code.push(0x0f, 0xa2),
    xgetbv: () => code.push(0x0f, 0x01, 0xd0),
    /** An instruction that is none: the process ends by SIGILL. */
    ud2: () => code.push(0x0f, 0x0b),
    prefetch: (from: Memory) => integer(0x0f18, 1, from, { wide: false }),
    vstore: (to: Memory, from: Vector) => code.vex([0, 1, 0x11], from, 0, to),
    vstore1: (to: Memory, from: Vector) => code.vex([2, 1, 0x11], from, 0, to, [], 0),
    /** Only where the mask's sign bits are set; nothing else is read, and is 0. */
    vloadMasked: (to: Vector, mask: Vector, from: Memory) => code.vex([1, 2, 0x2c], to, mask.vector, from),
    vstoreMasked: (to: Memory, mask: Vector, from: Vector) => code.vex([1, 2, 0x2e], from, mask.vector, to),
    /** first where the mask's sign bits are clear, second where they are set. */
    vblendvps: (to: Vector, first: Vector, second: Vector, mask: Vector) =>
      code.vex([1, 3, 0x4a], to, first.vector, second, [mask.vector << 4]),
    /** So that code without vectors of 256 bits goes on at full speed. */
    vzeroupper: () => code.push(0xc5, 0xf8, 0x77),
    /** Bytes as they are. */
    data: (bytes: Uint8Array) => code.push(...bytes),
    /** Zeros up to a multiple of some bytes. */
    align(bytes: number): void {
      while (code.length % bytes !== 0) code.push(0);
    },
    /** What lies in the code as the distance from `origin` to `label`, 32 bits. */
    offsetOf: (label: Label, origin: Label) => code.offset(label, origin),
    bytes: () => code.finished(),
  };
}
