/** Prints how many MiB a process grows by over 10,000 uploads and replays, after 5,000 to warm up. A process of its own. */
import { linear, whole } from "../../src/device/device";
import { device } from "./device";

const source = await Bun.file("kernels/fill.wgsl").text();
const output = whole(device().allocate(256));
const fill = (value: number) => ({
  kernel: { name: "fill", source, entry: "forward" },
  params: { count: 4, value },
  output,
  inputs: [],
  workgroups: linear(4, 256),
});
using recording = device().record([fill(1), fill(2)]);
const data = new Float32Array(4);

function residentAfter(replays: number): number {
  for (let i = 0; i < replays; i++) {
    device().upload(output, data);
    recording.replay();
  }
  device().wait();
  Bun.gc(true);
  return process.memoryUsage.rss() / 2 ** 20;
}

const before = residentAfter(5000);
console.log(residentAfter(10000) - before);
