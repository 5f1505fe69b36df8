/** Runs before every test file: the CPU device's kernels are compiled, and the devices are closed at the end. */
import { afterAll } from "bun:test";

const { exitCode, stderr } = Bun.spawnSync([process.execPath, "scripts/build-kernels.ts"]);
if (exitCode !== 0) throw new Error(stderr.toString());
const { closeDevices } = await import("./device");
afterAll(closeDevices);
