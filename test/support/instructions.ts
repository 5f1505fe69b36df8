/**
 * Instructions as an independent assembler reads them, each with the calls of ours that are to give the same bytes. After a change here,
 * test/golden/encodings.ts makes those bytes again.
 */
import { type Assembler, type Condition, predicates } from "../../src/device/cpu/native/assembler";
import {
  at,
  type Label,
  type Memory,
  type Register,
  r8,
  r9,
  r10,
  r11,
  r12,
  r13,
  r14,
  r15,
  rax,
  rbp,
  rbx,
  rcx,
  rdi,
  rdx,
  rsi,
  rsp,
  type Vector,
  ymm,
} from "../../src/device/cpu/native/operands";

export interface Instruction {
  /** For GNU as, in Intel's syntax. `1b` and `1f` are the nearest `1:` before and behind. */
  readonly text: string;
  readonly write: (code: Assembler) => void;
}

/**
 * Methods whose operands are those of the instruction, in its order, with what each operand may be. GNU as needs `{load}` where it would choose
 * a store between registers.
 */
const forms: Partial<Record<keyof Assembler, string>> = {
  vaddps: "vaddps ymm, ymm, ymm/m",
  vsubps: "vsubps ymm, ymm, ymm/m",
  vmulps: "vmulps ymm, ymm, ymm/m",
  vdivps: "vdivps ymm, ymm, ymm/m",
  vmaxps: "vmaxps ymm, ymm, ymm/m",
  vminps: "vminps ymm, ymm, ymm/m",
  vandps: "vandps ymm, ymm, ymm/m",
  vorps: "vorps ymm, ymm, ymm/m",
  vxorps: "vxorps ymm, ymm, ymm/m",
  vunpcklps: "vunpcklps ymm, ymm, ymm/m",
  vunpckhps: "vunpckhps ymm, ymm, ymm/m",
  vunpcklpd: "vunpcklpd ymm, ymm, ymm/m",
  vunpckhpd: "vunpckhpd ymm, ymm, ymm/m",
  vpaddd: "vpaddd ymm, ymm, ymm/m",
  vpmulld: "vpmulld ymm, ymm, ymm/m",
  vpsrlvd: "vpsrlvd ymm, ymm, ymm/m",
  vpsubd: "vpsubd ymm, ymm, ymm/m",
  vfmadd231ps: "vfmadd231ps ymm, ymm, ymm/m",
  vfnmadd213ps: "vfnmadd213ps ymm, ymm, ymm/m",
  vfmadd213ps: "vfmadd213ps ymm, ymm, ymm/m",
  vmovups: "{load} vmovups ymm, ymm/m",
  vsqrtps: "vsqrtps ymm, ymm/m",
  vcvtdq2ps: "vcvtdq2ps ymm, ymm/m",
  vbroadcastss: "vbroadcastss ymm, xmm/m",
  vpmovzxwd: "vpmovzxwd ymm, xmm/m",
  vcvtph2ps: "vcvtph2ps ymm, xmm/m",
  vshufps: "vshufps ymm, ymm, ymm/m, byte",
  vcmpps: "vcmpps ymm, ymm, ymm/m, byte",
  vperm2f128: "vperm2f128 ymm, ymm, ymm/m, byte",
  vpslld: "vpslld ymm, ymm, bits",
  vpsrld: "vpsrld ymm, ymm, bits",
  vpsrad: "vpsrad ymm, ymm, bits",
  vblendvps: "vblendvps ymm, ymm, ymm, ymm",
  vstore: "vmovups m, ymm",
  vstore1: "vmovss m, xmm",
  vloadMasked: "vmaskmovps ymm, ymm, m",
  vstoreMasked: "vmaskmovps m, ymm, ymm",
  vzeroupper: "vzeroupper",
  mov: "mov r64, r64",
  mov32: "mov r32, r32",
  movNumber: "mov r64, positive",
  load: "mov r64, m",
  store: "mov m, r64",
  load32: "mov r32, m",
  store32: "mov m, r32",
  lea: "lea r64, m",
  add: "add r64, r64",
  addNumber: "add r64, number",
  sub: "sub r64, r64",
  subNumber: "sub r64, number",
  andNumber: "and r64, number",
  cmpNumber: "cmp r64, number",
  test: "test r64, r64",
  shiftLeft: "shl r64, bits",
  shiftRight: "shr r64, bits",
  push: "push r64",
  pop: "pop r64",
  jumpTo: "jmp r64",
  ret: "ret",
  cpuid: "cpuid",
  xgetbv: "xgetbv",
  ud2: "ud2",
  prefetch: "prefetcht0 m",
};

interface Operand {
  readonly text: string;
  readonly value: Register | Vector | Memory | number;
}

/** By their numbers. */
const registers = Object.entries({ rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15 });
/** Numbers go on from the start behind the last. */
const register = (i: number) => registers[i % 16]!;
const in32Bits = (name: string) => (/\d/.test(name) ? `${name}d` : name.replace("r", "e"));
const vectors = (prefix: string) => registers.map((_, i) => ({ text: prefix + i, value: ymm(i) }));
const numbers = (...values: readonly number[]) => values.map((value) => ({ text: String(value), value }));

function address(base: number, more: { index?: number; scale?: 1 | 2 | 4 | 8; offset?: number } = {}): Operand {
  const [name, value] = register(base);
  const { scale, offset } = more;
  const [indexName, index] = more.index === undefined ? [] : register(more.index);
  const parts = [
    index ? `+${indexName}` : "",
    scale ? `*${scale}` : "",
    offset ? `${offset < 0 ? "" : "+"}${offset}` : "",
  ];
  return {
    text: `[${name}${parts.join("")}]`,
    value: index ? { base: value, index, scale, offset } : at(value, offset),
  };
}

const offsets = [1, -1, 127, -128, 128, -129, 0x12345678, -0x80000000];
const scales = [1, 2, 4, 8] as const;
/** Every register but rsp, which cannot be one. */
const indices = registers.flatMap(([name], i) => (name === "rsp" ? [] : [i]));

/** Every base without an offset and with one, every index without and with one, in all scales and on all bases. */
const addresses: readonly Operand[] = [
  ...registers.map((_, i) => address(i)),
  ...registers.map((_, i) => address(i, { offset: offsets[(i + (i >> 3)) % 8]! })),
  ...indices.map((index) => address(5 * index + 3, { index, scale: scales[index % 4]! })),
  ...indices.map((index) =>
    address(7 * index + 1, { index, scale: scales[(index >> 2) % 4]!, offset: offsets[index % 8]! }),
  ),
  address(3, { index: 12 }),
  address(8, { index: 5 }),
];

/** What an operand of a form may be. */
const choices: Readonly<Record<string, readonly Operand[]>> = {
  r64: registers.map(([text, value]) => ({ text, value })),
  r32: registers.map(([name, value]) => ({ text: in32Bits(name), value })),
  xmm: vectors("xmm"),
  ymm: vectors("ymm"),
  m: addresses,
  byte: numbers(0, 1, 0x1b, 255),
  // GNU as has a shorter form for a shift by one bit.
  bits: numbers(2, 3, 31, 63),
  positive: numbers(0, 1, 0x12345678, 0x7fffffff),
  // rax, the first register, meets the second number: GNU as has a shorter form for rax and a number of 32 bits.
  number: numbers(128, 1, -129, -1, 0x12345678, 127, -0x80000000, -128),
};

/** The instructions of a form with these operands: all operands change at once, each by a step of its own, through all that they may be. */
function sweep(method: keyof Assembler, mnemonic: string, kinds: readonly string[], count: number): Instruction[] {
  const call = (code: Assembler, operands: readonly Operand[]) =>
    (code[method] as (...operands: readonly Operand["value"][]) => void)(...operands.map(({ value }) => value));
  const textOf = (operands: readonly Operand[]) => `${mnemonic} ${operands.map(({ text }) => text).join(", ")}`.trim();
  const operandsOf = (i: number) =>
    kinds.map((kind, place) => choices[kind]![((2 * place + 1) * i + place) % choices[kind]!.length]!);
  const plain = Array.from({ length: count }, (_, i) => {
    const operands = operandsOf(i);
    return { text: textOf(operands), write: (code: Assembler) => call(code, operands) };
  });
  if (!kinds.includes("m")) return plain;
  /** Memory that is a label's, before or behind. */
  const labelled = (i: number, text: string, label: Label = { at: null }): Operand[] =>
    operandsOf(i).map((operand, place) => (kinds[place] === "m" ? { text, value: { label } } : operand));
  return [
    ...plain,
    {
      text: `1: ret; ${textOf(labelled(6, "[rip+1b]"))}; ret`,
      write: (code) => {
        const label = code.label();
        code.bind(label);
        code.ret();
        call(code, labelled(6, "", label));
        code.ret();
      },
    },
    {
      text: `${textOf(labelled(13, "[rip+1f]"))}; ret; 1:`,
      write: (code) => {
        const label = code.label();
        call(code, labelled(13, "", label));
        code.ret();
        code.bind(label);
      },
    },
  ];
}

function instructionsOf(method: keyof Assembler, form: string): Instruction[] {
  const [, mnemonic, list] = form.match(/^((?:\{\w+\} )?\w+)(?: (.*))?$/)!;
  const kinds = list?.split(", ") ?? [];
  if (kinds.length === 0) return sweep(method, mnemonic!, [], 1);
  if (kinds.includes("m")) return sweep(method, mnemonic!, kinds, addresses.length);
  const either = kinds.some((kind) => kind.endsWith("/m"));
  const registers = kinds.map((kind) => kind.replace("/m", ""));
  const memory = kinds.map((kind) => (kind.endsWith("/m") ? "m" : kind));
  return [...sweep(method, mnemonic!, registers, 16), ...(either ? sweep(method, mnemonic!, memory, 16) : [])];
}

/** GNU as needs `{disp32}` where it would choose a distance of 8 bits. */
function jumps(
  mnemonic: string,
  jump: (code: Assembler, label: ReturnType<Assembler["label"]>) => void,
): Instruction[] {
  return [0, 1, 200].flatMap((bytes) => [
    {
      text: `1: .skip ${bytes}; {disp32} ${mnemonic} 1b; ret`,
      write: (code) => {
        const label = code.label();
        code.bind(label);
        code.data(new Uint8Array(bytes));
        jump(code, label);
        code.ret();
      },
    },
    {
      text: `ret; {disp32} ${mnemonic} 1f; .skip ${bytes}; 1: ret`,
      write: (code) => {
        const label = code.label();
        code.ret();
        jump(code, label);
        code.data(new Uint8Array(bytes));
        code.bind(label);
        code.ret();
      },
    },
  ]);
}

const conditions: Readonly<Record<Condition, string>> = {
  below: "jb",
  aboveOrEqual: "jae",
  equal: "je",
  notEqual: "jne",
  belowOrEqual: "jbe",
  above: "ja",
};

const comparisons: Readonly<Record<keyof typeof predicates, string>> = {
  equal: "vcmpeqps",
  less: "vcmpltps",
  lessOrEqual: "vcmpleps",
  unordered: "vcmpunordps",
};

function aligned(code: Assembler): void {
  code.ret();
  code.align(16);
  code.ret();
  code.align(2);
  code.ret();
}

/** What has names in place of numbers, labels, and bytes that are no instructions. */
const others: readonly Instruction[] = [
  ...jumps("jmp", (code, label) => code.jump(label)),
  ...Object.entries(conditions).flatMap(([condition, mnemonic]) =>
    jumps(mnemonic, (code, label) => code.jumpIf(condition as Condition, label)),
  ),
  ...Object.entries(comparisons).map(([name, mnemonic]) => ({
    text: `${mnemonic} ymm1, ymm2, ymm3`,
    write: (code: Assembler) => code.vcmpps(ymm(1), ymm(2), ymm(3), predicates[name as keyof typeof predicates]),
  })),
  { text: ".byte 1, 128, 255", write: (code) => code.data(Uint8Array.of(1, 128, 255)) },
  { text: "ret; .balign 16, 0; ret; .balign 2, 0; ret", write: aligned },
  {
    text: "ret; 1: ret; .long 1b - 1f, 1f - 1b; 1: ret",
    write: (code) => {
      const [first, second] = [code.label(), code.label()];
      code.ret();
      code.bind(first);
      code.ret();
      code.offsetOf(first, second);
      code.offsetOf(second, first);
      code.bind(second);
      code.ret();
    },
  },
];

export const instructions: readonly Instruction[] = [
  ...Object.entries(forms).flatMap(([method, form]) => instructionsOf(method as keyof Assembler, form)),
  ...others,
];
