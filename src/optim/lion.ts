/** Lion: https://arxiv.org/abs/2302.06675, algorithm 2. One moment; its rate is a third to a tenth of AdamW's, its decay as much larger. */
import source from "../../kernels/lion.wgsl" with { type: "text" };
import { linear, whole } from "../device/device";
import { decayedIn, type Rule } from "./rule";

export const lion: Rule = (device, part, { beta1, beta2, weightDecay }) => {
  const { weights, gradients, moments, windows, stats, schedule } = part;
  return device.record(
    windows.map((window) => {
      const { offset, count } = window;
      return {
        kernel: { name: "lion", source, entry: "forward" },
        params: { count, decayed: decayedIn(part, window), beta1, beta2, decay: weightDecay },
        output: weights.slice(offset, count),
        inputs: [moments[0].slice(offset, count), gradients.slice(offset, count), whole(stats), whole(schedule)],
        workgroups: linear(count, 256),
      };
    }),
  );
};
