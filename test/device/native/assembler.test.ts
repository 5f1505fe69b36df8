/** The assembler of machine code writes what an independent one writes, byte for byte. */
import { describe, expect, test } from "bun:test";
import { type Assembler, assembler } from "../../../src/device/cpu/native/assembler";
import { at, r12, rax, rsp, ymm } from "../../../src/device/cpu/native/operands";
import encodings from "../../golden/encodings.json";
import { type Instruction, instructions } from "../../support/instructions";

const expected: Readonly<Record<string, string>> = encodings;
const hex = ({ write }: Instruction, code = assembler()) => {
  write(code);
  return Buffer.from(code.bytes()).toString("hex");
};

describe("the assembler", () => {
  test("writes the bytes that GNU as writes", () => {
    const wrong = instructions.flatMap((instruction) => {
      const [{ text }, ours] = [instruction, hex(instruction)];
      return ours === expected[text] ? [] : [{ text, ours, expected: expected[text] }];
    });
    expect(wrong).toEqual([]);
    expect(new Set(Object.keys(expected))).toEqual(new Set(instructions.map(({ text }) => text)));
  });
  test("has no instruction without such bytes", () => {
    const met = new Set<string>();
    const watched = () => {
      const methods = Object.entries(assembler()).map(([name, method]) => [
        name,
        (...operands: never[]) => {
          met.add(name);
          return (method as (...operands: never[]) => unknown)(...operands);
        },
      ]);
      return Object.fromEntries(methods) as Assembler;
    };
    for (const instruction of instructions) hex(instruction, watched());
    expect(Object.keys(assembler()).filter((name) => !met.has(name))).toEqual([]);
  });
  test("goes on behind an instruction as at the start", () => {
    const [first, second] = instructions.filter(({ text }) => text.includes("1f")) as [Instruction, Instruction];
    const code = assembler();
    first.write(code);
    expect(hex(second, code)).toBe(expected[first.text]! + expected[second.text]!);
  });
  test.each<[string, (code: Assembler) => void]>([
    ["there is no vector register 16", () => ymm(16)],
    ["there is no vector register -1", () => ymm(-1)],
    ["rsp is no index", (code) => code.lea(rax, { base: rax, index: rsp })],
    ["rsp is no index", (code) => code.vstore({ base: r12, index: rsp, scale: 2, offset: 8 }, ymm(0))],
    ["2147483648 is no integer of 32 bits", (code) => code.addNumber(rax, 2 ** 31)],
    ["-2147483649 is no integer of 32 bits", (code) => code.lea(rax, at(rax, -(2 ** 31) - 1))],
    ["NaN is no integer of 32 bits", (code) => code.vmovups(ymm(0), at(rax, Number.NaN))],
    ["1.5 is no integer of 32 bits", (code) => code.movNumber(rax, 1.5)],
    [
      "a label is bound twice",
      (code) => {
        const label = code.label();
        code.bind(label);
        code.ret();
        code.bind(label);
      },
    ],
    ["a label is used, and stands nowhere", (code) => code.jump(code.label())],
    ["a label is used, and stands nowhere", (code) => code.vmovups(ymm(0), { label: code.label() })],
    ["a label is used, and stands nowhere", (code) => code.offsetOf(bound(code), code.label())],
    ["a label is used, and stands nowhere", (code) => code.offsetOf(code.label(), bound(code))],
  ])("refuses: %s", (message, write) => {
    const code = assembler();
    expect(() => {
      write(code);
      code.bytes();
    }).toThrow(message);
  });
});

function bound(code: Assembler): ReturnType<Assembler["label"]> {
  const label = code.label();
  code.bind(label);
  return label;
}
