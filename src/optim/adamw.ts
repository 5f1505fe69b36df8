/** AdamW: https://arxiv.org/abs/1711.05101, algorithm 2. */
import source from "../../kernels/adamw.wgsl" with { type: "text" };
import { type Dispatch, linear, whole } from "../device/device";
import { decayedIn, type Part, type Rule, type RuleOptions, type Window } from "./rule";

export const adamw: Rule = (device, part, options) =>
  device.record(part.windows.map((window) => adamwOf(part, options, window)));

/** Of a run of elements. */
export function adamwOf(part: Part, { beta1, beta2, epsilon, weightDecay }: RuleOptions, window: Window): Dispatch {
  const { weights, gradients, moments, stats, schedule } = part;
  const { offset, count } = window;
  const [first, second] = moments;
  return {
    kernel: { name: "adamw", source, entry: "forward" },
    params: { count, decayed: decayedIn(part, window), beta1, beta2, epsilon, decay: weightDecay },
    output: weights.slice(offset, count),
    inputs: [
      first.slice(offset, count),
      second!.slice(offset, count),
      gradients.slice(offset, count),
      whole(stats),
      whole(schedule),
    ],
    workgroups: linear(count, 256),
  };
}
