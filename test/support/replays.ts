/**
 * Prints how many MiB a process grows by over 10,000 uploads and replays, after 5,000 to warm up. A process of its
 * own: the kind of device is its argument.
 */
import { linear, whole } from "../../src/device/device";
import { device, type Kind } from "./device";

const on = device(process.argv[2] as Kind);
const source = await Bun.file("kernels/fill.wgsl").text();
const output = whole(on.allocate(256));
const fill = (value: number) => ({
  kernel: { name: "fill", source, entry: "forward" },
  params: { count: 4, value },
  output,
  inputs: [],
  workgroups: linear(4, 256),
});
using recording = on.record([fill(1), fill(2)]);
const data = new Float32Array(4);

function residentAfter(replays: number): number {
  for (let i = 0; i < replays; i++) {
    on.upload(output, data);
    recording.replay();
  }
  on.wait();
  Bun.gc(true);
  return process.memoryUsage.rss() / 2 ** 20;
}

const before = residentAfter(5000);
console.log(residentAfter(10000) - before);
