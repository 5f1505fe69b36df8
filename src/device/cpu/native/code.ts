/** Machine code as it grows: bytes, instructions in their two forms, and distances to labels that are not bound yet. */
import { type Label, type Memory, modrm, type Register, rexOf, type Vector } from "./operands";

/** Prefix (none, 66, F3, F2), map (0F, 0F38, 0F3A) and opcode of a VEX instruction. */
export type Encoding = readonly [prefix: 0 | 1 | 2 | 3, map: 1 | 2 | 3, opcode: number];

/** The bytes so far, and what still waits for a label. */
export class Code {
  private readonly bytes: number[] = [];
  /** 32 bits at `at` that are to be the distance from a place or a label to a label. */
  private readonly waiting: { at: number; from: number | Label; to: Label }[] = [];

  get length(): number {
    return this.bytes.length;
  }

  push(...bytes: readonly number[]): void {
    this.bytes.push(...bytes);
  }

  bind(label: Label): void {
    if (label.at !== null) throw new Error("a label is bound twice");
    label.at = this.length;
  }

  /** 32 bits that say how far it is from the end of the instruction, `behind` bytes after them, to a label. */
  distance(label: Label, behind = 0): void {
    this.waiting.push({ at: this.length, from: this.length + 4 + behind, to: label });
    this.push(0, 0, 0, 0);
  }

  /** 32 bits that say how far a label is behind another. */
  offset(label: Label, origin: Label): void {
    this.waiting.push({ at: this.length, from: origin, to: label });
    this.push(0, 0, 0, 0);
  }

  finished(): Uint8Array<ArrayBuffer> {
    const made = Uint8Array.from(this.bytes);
    const view = new DataView(made.buffer);
    for (const { at, from, to } of this.waiting) {
      view.setInt32(at, placeOf(to) - (typeof from === "number" ? from : placeOf(from)), true);
    }
    return made;
  }

  /** An instruction of general registers: opcode, the register or digit in the middle of ModRM, and the other operand. */
  integer(
    opcode: number,
    reg: number,
    rm: Register | Memory,
    { wide = true, behind = [] }: { wide?: boolean; behind?: readonly number[] } = {},
  ): void {
    const { index, base } = numbersOf(rm);
    this.push(...rexOf(reg, index, base, wide));
    this.push(...(opcode > 0xff ? [opcode >> 8, opcode & 0xff] : [opcode]));
    this.operand(reg, rm, behind);
  }

  /** The VEX form of an instruction: two bytes of prefix where that can say it, else three. */
  vex(
    [prefix, map, opcode]: Encoding,
    { vector: reg }: Vector,
    second: number,
    rm: Vector | Memory,
    behind: readonly number[] = [],
    L = 1,
  ): void {
    const { index, base } = numbersOf(rm);
    const last = ((~second & 15) << 3) | (L << 2) | prefix;
    const R = reg & 8 ? 0 : 0x80;
    if (map === 1 && !(base & 8) && !(index & 8)) this.push(0xc5, R | last);
    else this.push(0xc4, R | (index & 8 ? 0 : 0x40) | (base & 8 ? 0 : 0x20) | map, last);
    this.push(opcode);
    this.operand(reg, rm, behind);
  }

  private operand(reg: number, rm: Vector | Register | Memory, behind: readonly number[]): void {
    if ("label" in rm) {
      this.push(((reg & 7) << 3) | 5);
      this.distance(rm.label, behind.length);
    } else this.push(...modrm(reg, rm));
    this.push(...behind);
  }
}

/** The numbers of the registers whose fourth bits a prefix takes. */
function numbersOf(rm: Vector | Register | Memory): { index: number; base: number } {
  if ("vector" in rm) return { index: 0, base: rm.vector };
  if ("register" in rm) return { index: 0, base: rm.register };
  return "label" in rm ? { index: 0, base: 0 } : { index: rm.index?.register ?? 0, base: rm.base.register };
}

function placeOf({ at }: Label): number {
  if (at === null) throw new Error("a label is used, and stands nowhere");
  return at;
}
