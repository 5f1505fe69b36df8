/** Dispatches that the CPU device runs as one, so that what both read passes by memory once. */
import type { Dispatch, Slice } from "../device";

/** The same work in fewer dispatches: a layer norm's statistics go together with the norm that follows them. */
export function fuse(dispatches: readonly Dispatch[]): Dispatch[] {
  const fused: Dispatch[] = [];
  for (const dispatch of dispatches) {
    const before = fused.at(-1);
    if (before && isNormOf(dispatch, before)) {
      fused[fused.length - 1] = { ...dispatch, kernel: { ...dispatch.kernel, entry: "statistics_forward" } };
    } else fused.push(dispatch);
  }
  return fused;
}

function isNormOf(norm: Dispatch, statistics: Dispatch): boolean {
  const is = ({ kernel }: Dispatch, entry: string) => kernel.name === "layer-norm" && kernel.entry === entry;
  return (
    is(norm, "forward") &&
    is(statistics, "statistics") &&
    same(norm.inputs[0], statistics.inputs[0]) &&
    same(norm.inputs[1], statistics.output)
  );
}

function same(a: Slice | undefined, b: Slice | undefined): boolean {
  return a !== undefined && a.buffer === b?.buffer && a.offsetBytes === b.offsetBytes;
}
