/** A process in which machine code goes wrong: `faulting.ts main|helper illegal|null|past`. It is not to reach its end. */
import { ptr } from "bun:ffi";
import { isMainThread } from "node:worker_threads";
import { openCpu } from "../../src/device/cpu/cpu";
import { assembler } from "../../src/device/cpu/native/assembler";
import { functionAt, placed } from "../../src/device/cpu/native/executable";
import { at, rax, rcx } from "../../src/device/cpu/native/operands";

const [, , where, what] = process.argv;
if (where === "main" || !isMainThread) fault();
else {
  new Worker(import.meta.url, { argv: [where!, what!] });
  await Bun.sleep(10_000);
}
console.log("still here");

function fault(): void {
  using device = openCpu(1, "native");
  const code = assembler();
  if (what === "illegal") code.ud2();
  else {
    code.sub(rax, rax);
    if (what === "past") {
      // Just behind the end of the memory that the kernels share, where WebAssembly would trap.
      const { bytes } = device.pool.heap;
      code.data(
        Uint8Array.from([0x48, 0xb9, ...new Uint8Array(BigUint64Array.of(BigInt(ptr(bytes) + bytes.length)).buffer)]),
      );
      code.add(rax, rcx);
    }
    code.load(rax, at(rax));
  }
  code.ret();
  functionAt(placed(code.bytes())!)(0);
}
