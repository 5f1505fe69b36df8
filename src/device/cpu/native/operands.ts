/** What the instructions of assembler.ts are given: registers and places in memory, and how both are encoded. */

/** A general register, by its number. */
export interface Register {
  readonly register: number;
}

/** A vector register. */
export interface Vector {
  readonly vector: number;
}

/** A place in the code. It may be jumped to, or its constants read, before it is bound. */
export interface Label {
  at: number | null;
}

/** base + index * scale + offset. */
export interface Place {
  readonly base: Register;
  readonly index?: Register;
  readonly scale?: 1 | 2 | 4 | 8;
  readonly offset?: number;
}

/** A place at registers, or what a label in the code stands before. */
export type Memory = Place | { readonly label: Label };

type EightOf<T> = [T, T, T, T, T, T, T, T];

const register = (number: number): Register => ({ register: number });

export const [rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi] = [0, 1, 2, 3, 4, 5, 6, 7].map(register) as EightOf<Register>;
export const [r8, r9, r10, r11, r12, r13, r14, r15] = [8, 9, 10, 11, 12, 13, 14, 15].map(register) as EightOf<Register>;

export function ymm(number: number): Vector {
  if (!(number >= 0 && number < 16)) throw new Error(`there is no vector register ${number}`);
  return { vector: number };
}

/** The memory at a register's address, `offset` bytes further on. */
export function at(base: Register, offset = 0): Place {
  return { base, offset };
}

/** The prefix that widens an instruction of general registers and gives it the upper eight; nothing where neither is needed. */
export function rexOf(reg: number, index: number | undefined, base: number, wide = false): number[] {
  const bits = (wide ? 8 : 0) | ((reg & 8) >> 1) | (((index ?? 0) & 8) >> 2) | ((base & 8) >> 3);
  return bits ? [0x40 | bits] : [];
}

/** ModRM, SIB and displacement. */
export function modrm(reg: number, rm: Vector | Register | Place): number[] {
  const middle = (reg & 7) << 3;
  if ("vector" in rm) return [0xc0 | middle | (rm.vector & 7)];
  if ("register" in rm) return [0xc0 | middle | (rm.register & 7)];
  const { base, index, scale = 1, offset = 0 } = rm;
  if (index?.register === rsp.register) throw new Error("rsp is no index");
  const low = base.register & 7;
  // Without an offset the numbers of rbp and r13 mean something else as a base.
  const mode = offset === 0 && low !== 5 ? 0 : offset >= -128 && offset < 128 ? 1 : 2;
  const displacement = mode === 0 ? [] : mode === 1 ? [offset & 0xff] : little(offset);
  // rsp and r12 as a base, like an index, need the byte SIB.
  if (!index && low !== 4) return [(mode << 6) | middle | low, ...displacement];
  const sib = (Math.log2(scale) << 6) | (((index?.register ?? 4) & 7) << 3) | low;
  return [(mode << 6) | middle | 4, sib, ...displacement];
}

/** A number of 32 bits, the lowest byte first. The processor widens it by its sign. */
export function little(number: number): number[] {
  if (number !== (number | 0)) throw new Error(`${number} is no integer of 32 bits`);
  return [0, 8, 16, 24].map((bits) => (number >> bits) & 0xff);
}
