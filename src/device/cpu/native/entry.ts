/** The machine code of machine-code.ts, as it was built, made to run over a shared memory. */
import { readFileSync } from "node:fs";
import built from "../../../../dist/kernels-x64.bin" with { type: "file" };
import { placed } from "./executable";

/** In the code: where the address of the shared memory is to stand, and where it is entered. */
const MEMORY = 0;
const ENTRY = 8;

/** Where the code over the memory at `address` is entered; null where the system gives no executable memory. */
export function entryOver(address: number): number | null {
  const code = new Uint8Array(readFileSync(built));
  new DataView(code.buffer).setBigUint64(MEMORY, BigInt(address), true);
  const at = placed(code);
  return at === null ? null : at + ENTRY;
}
