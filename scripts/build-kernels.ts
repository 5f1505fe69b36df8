/**
 * Compiles kernels/cpu to WebAssembly: dist/kernels.wasm, with relaxed multiply-add, and dist/kernels-plain.wasm for engines
 * that have none. And writes the machine code of src/device/cpu/native: dist/kernels-x64.bin. Does nothing where all are newer than their
 * sources.
 */
import { mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { MOST_BYTES, STATIC_BYTES } from "../src/device/cpu/heap";
import { machineCode } from "../src/device/cpu/native/machine-code";

const outputs = { "dist/kernels.wasm": ["--enable", "relaxed-simd"], "dist/kernels-plain.wasm": [] };
const changed = (file: string) => statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;
const newestOf = (folder: string) =>
  Math.max(changed(folder), ...readdirSync(folder).map((name) => changed(`${folder}/${name}`)));
const newest = Math.max(changed("scripts/build-kernels.ts"), newestOf("kernels/cpu"));
const written = "dist/kernels-x64.bin";

if (changed(written) <= newestOf("src/device/cpu/native")) {
  mkdirSync("dist", { recursive: true });
  writeFileSync(written, machineCode());
}

// A rule is one file to who gives it; this one has others behind it.
const rule = "dist/tales-rule.js";
if (changed(rule) <= Math.max(newestOf("scripts/tales"), changed("data/tales-rule.ts"), changed("data/world.json"))) {
  mkdirSync("dist", { recursive: true });
  await Bun.build({ entrypoints: ["data/tales-rule.ts"], target: "bun", outdir: "dist", throw: true });
}

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
