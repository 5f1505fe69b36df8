/** The simplest dispatch that there is: a buffer filled with a number. */
import fillSource from "../../kernels/fill.wgsl" with { type: "text" };
import { type Dispatch, linear } from "../../src/device/device";

export { fillSource };

export function fillOf(
  output: Dispatch["output"],
  count: number,
  value: number,
  over: Partial<Dispatch> = {},
): Dispatch {
  return {
    kernel: { name: "fill", source: fillSource, entry: "forward" },
    params: { count, value },
    output,
    inputs: [],
    workgroups: linear(count, 256),
    ...over,
  };
}
