/**
 * Compiles kernels/cpu to WebAssembly: dist/kernels.wasm, with relaxed multiply-add, and dist/kernels-plain.wasm for engines
 * that have none. Does nothing where both are newer than their sources.
 */
import { mkdirSync, readdirSync, statSync } from "node:fs";
import { MOST_BYTES, STATIC_BYTES } from "../src/device/cpu/heap";

const outputs = { "dist/kernels.wasm": ["--enable", "relaxed-simd"], "dist/kernels-plain.wasm": [] };
const sources = ["scripts/build-kernels.ts", ...readdirSync("kernels/cpu").map((name) => `kernels/cpu/${name}`)];
const changed = (file: string) => statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;
const newest = Math.max(...sources.map(changed));

for (const [output, features] of Object.entries(outputs)) {
  if (changed(output) > newest) continue;
  mkdirSync("dist", { recursive: true });
  const { exitCode } = Bun.spawnSync(
    [
      ...[process.execPath, "node_modules/assemblyscript/bin/asc.js", "kernels/cpu/index.ts"],
      ...["--outFile", output, "-O1", "--noAssert", "--runtime", "stub"],
      ...["--enable", "simd", "--enable", "threads", ...features],
      ...["--importMemory", "--sharedMemory", "--initialMemory", "1", "--maximumMemory", String(MOST_BYTES / 65536)],
      ...["--memoryBase", String(STATIC_BYTES), "--importTable"],
    ],
    { stdout: "inherit", stderr: "inherit" },
  );
  if (exitCode !== 0) process.exit(1);
  console.error(`${output}: ${(statSync(output).size / 1024).toFixed(0)} KiB`);
}
