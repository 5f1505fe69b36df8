/** What the kernels are written with: the assembler, loops, their arguments, constants that lie behind the code. */
import { type Assembler, assembler, type Condition } from "./assembler";
import { type Label, type Memory, type Register, r14, r15, type Vector } from "./operands";

/** The start of the memory that all threads share, in every kernel. */
export const base = r14;
/** The kernel's arguments, 32-bit words: the first is its number. A kernel may use them as it likes. */
export const given = r15;

export interface Writer extends Assembler {
  /** `body` while `counter` holds at least `step`, which each round takes off it. */
  whileAtLeast(counter: Register, step: number, body: () => void): void;
  /** `body` unless the flags say so. */
  unless(condition: Condition, body: () => void): void;
  /** Argument i, a number. */
  argument(to: Register, i: number): void;
  /** Argument i, an address in the shared memory, as one of this process. */
  address(to: Register, i: number): void;
  /** Vectors in memory: eight times one number, or eight numbers of 32 bits. */
  constant(values: number | readonly number[], as?: "float" | "bits"): Memory;
  /**
   * The first `left` (a register, 1 to 16) floats as a mask: of the first vector, or with `more` = 32 of the one behind it. `spare` is overwritten.
   */
  mask(to: Vector, left: Register, spare: Register, more?: 0 | 32): void;
  /** Writes the constants that were asked for. */
  writeConstants(): void;
}

/** -1 sixteen times, then 0: a mask of the first n of sixteen begins 16 - n words in. */
const masks = Array.from({ length: 32 }, (_, i) => (i < 16 ? -1 : 0));

export function writer(): Writer {
  const code = assembler();
  const constants = new Map<string, { label: Label; words: readonly number[] }>();
  const labelled = (words: readonly number[]) => {
    const key = words.join();
    const known = constants.get(key) ?? { label: code.label(), words };
    constants.set(key, known);
    return known.label;
  };
  return Object.assign(code, {
    whileAtLeast(counter: Register, step: number, body: () => void): void {
      const [again, end] = [code.label(), code.label()];
      code.subNumber(counter, step);
      code.jumpIf("below", end);
      code.bind(again);
      body();
      code.subNumber(counter, step);
      code.jumpIf("aboveOrEqual", again);
      code.bind(end);
      code.addNumber(counter, step);
    },
    unless(condition: Condition, body: () => void): void {
      const end = code.label();
      code.jumpIf(condition, end);
      body();
      code.bind(end);
    },
    argument: (to: Register, i: number) => code.load32(to, { base: given, offset: 4 * i }),
    address(to: Register, i: number): void {
      code.load32(to, { base: given, offset: 4 * i });
      code.add(to, base);
    },
    constant(values: number | readonly number[], as: "float" | "bits" = "float"): Memory {
      const eight = typeof values === "number" ? new Array<number>(8).fill(values) : values;
      return { label: labelled(as === "bits" ? eight : [...new Int32Array(new Float32Array(eight).buffer)]) };
    },
    mask(to: Vector, left: Register, spare: Register, more: 0 | 32 = 0): void {
      code.lea(spare, { label: labelled(masks) });
      code.shiftLeft(left, 2);
      code.sub(spare, left);
      code.shiftRight(left, 2);
      code.vmovups(to, { base: spare, offset: 64 + more });
    },
    writeConstants(): void {
      for (const { label, words } of constants.values()) {
        code.align(32);
        code.bind(label);
        code.data(new Uint8Array(Int32Array.from(words).buffer));
      }
    },
  });
}
