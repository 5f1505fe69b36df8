/** Prints how many milliseconds of processor time an idle CPU device costs in 300 ms. A process of its own. */
import { trainingStep } from "../../src/app/training-step";
import { openCpu } from "../../src/device/cpu/cpu";

using device = openCpu();
using step = trainingStep(device, { preset: "micro", rows: 1, length: 16, vocabulary: 64 });
for (let i = 0; i < 20; i++) step.run();
await Bun.sleep(300); // compilers of kernels work on for a while
const before = process.cpuUsage();
await Bun.sleep(300);
const { user, system } = process.cpuUsage(before);
console.log((user + system) / 1000);
