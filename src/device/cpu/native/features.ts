/** What the processor has, asked by its own instruction, and whether machine code can be run at all. */
import { CFunction, type Pointer, ptr } from "bun:ffi";
import { assembler } from "./assembler";
import { placed } from "./executable";
import { at, r8, r9, rax, rbx, rcx, rdi } from "./operands";

/** Bits of CPUID: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, CPUID. */
const FMA = 1 << 12;
const OSXSAVE = 1 << 27;
const AVX = 1 << 28;
const F16C = 1 << 29;
const AVX2 = 1 << 5;
/** The system keeps the registers of 128 and of 256 bits. */
const STATES = 6;

/**
 * Writes four words to the address that it is given: ecx of leaf 1, eax of XGETBV (0 without OSXSAVE), ebx of leaf 7, and the number of the last
 * leaf.
 */
function question(): Uint8Array {
  const code = assembler();
  code.push(rbx);
  code.mov(r8, rdi);
  code.sub(rcx, rcx);
  code.movNumber(rax, 1);
  code.cpuid();
  code.store32(at(r8), rcx);
  code.mov(r9, rcx);
  code.sub(rax, rax);
  code.andNumber(r9, OSXSAVE);
  const without = code.label();
  code.jumpIf("equal", without);
  code.sub(rcx, rcx);
  code.xgetbv();
  code.bind(without);
  code.store32(at(r8, 4), rax);
  code.movNumber(rax, 7);
  code.sub(rcx, rcx);
  code.cpuid();
  code.store32(at(r8, 8), rbx);
  code.sub(rax, rax);
  code.cpuid();
  code.store32(at(r8, 12), rax);
  code.pop(rbx);
  code.ret();
  return code.bytes();
}

let found: string | null | undefined;

/** Why machine code cannot be used here; null where it can. */
export function whyNot(): string | null {
  if (found === undefined) found = ask();
  return found;
}

function ask(): string | null {
  if (process.arch !== "x64") return `the kernels are for x86-64, and this is ${process.arch}`;
  if (process.platform === "win32") return "the kernels are for Linux and macOS so far";
  const address = placed(question());
  if (address === null) return "the system gives no executable memory";
  const words = new Int32Array(4);
  const call = CFunction({ ptr: address as Pointer, args: ["ptr"], returns: "void" });
  call(ptr(words));
  const [features = 0, states = 0, seventh = 0, last = 0] = words;
  // Asked for a leaf past its last, a processor answers with another.
  const more = last >= 7 ? seventh : 0;
  const needed = { AVX: features & AVX, FMA: features & FMA, F16C: features & F16C, AVX2: more & AVX2 };
  const missing = Object.entries(needed).flatMap(([name, bit]) => (bit ? [] : [name]));
  if (missing.length > 0) return `this processor has no ${missing.join(", ")}`;
  return (states & STATES) === STATES ? null : "the system does not keep registers of 256 bits";
}
