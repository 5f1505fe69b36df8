/** Builds dist/dawngrad: one executable with Bun, Dawn, the kernels for both kinds of device, the configs and the sample data inside. */
import { mkdir, rename, stat } from "node:fs/promises";
import "./build-kernels";

await mkdir("dist", { recursive: true });
const outfile = process.platform === "win32" ? "dist/dawngrad.exe" : "dist/dawngrad";
const build = Bun.spawn(
  [
    process.execPath,
    "build",
    "--compile",
    "--minify-syntax",
    // What was parsed is kept: half of the time that a command takes to start.
    ...["--bytecode", "--format=esm"],
    "--sourcemap=none",
    "src/main.ts",
    "src/data/encode-worker.ts",
    "src/device/cpu/worker.ts",
    "src/rewards/module-worker.ts",
    "--outfile",
    `${outfile}.tmp`,
  ],
  { stdout: "inherit", stderr: "inherit" },
);
if ((await build.exited) !== 0) process.exit(1);
await rename(`${outfile}.tmp`, outfile);
console.log(`${outfile}: ${((await stat(outfile)).size / 2 ** 20).toFixed(0)} MiB`);
