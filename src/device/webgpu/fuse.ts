/** Dispatches that an adapter runs as one, because both read the same: fewer passes over memory, and fewer waits between. */
import type { Dispatch, Slice } from "../device";

/** The same work in fewer dispatches. */
export function fuse(dispatches: readonly Dispatch[]): Dispatch[] {
  const fused: Dispatch[] = [];
  for (const dispatch of dispatches) {
    const before = fused.at(-1);
    const both = before && (normWithStatistics(before, dispatch) ?? gradientsOfNorm(before, dispatch));
    if (both) fused[fused.length - 1] = both;
    else fused.push(dispatch);
  }
  return fused;
}

/** A layer norm's statistics with the norm itself. */
function normWithStatistics(statistics: Dispatch, norm: Dispatch): Dispatch | null {
  const fits =
    is(statistics, "layer-norm", "statistics") &&
    is(norm, "layer-norm", "forward") &&
    same(norm.inputs[0], statistics.inputs[0]) &&
    same(norm.inputs[1], statistics.output);
  return fits ? { ...norm, kernel: { ...norm.kernel, entry: "statistics_forward" } } : null;
}

/** The gradients of a layer norm's scale and shift: both are sums over the same rows. */
function gradientsOfNorm(scale: Dispatch, shift: Dispatch): Dispatch | null {
  const fits =
    is(scale, "columns", "scale") &&
    is(shift, "columns", "sum") &&
    same(scale.inputs[0], shift.inputs[0]) &&
    scale.kernel.constants?.ACCUMULATE === shift.kernel.constants?.ACCUMULATE;
  if (!fits) return null;
  const kernel = { ...scale.kernel, entry: "scale_sum" };
  return { ...scale, kernel, inputs: [...scale.inputs, shift.output] };
}

function is({ kernel }: Dispatch, name: string, entry: string): boolean {
  return kernel.name === name && kernel.entry === entry;
}

function same(a: Slice | undefined, b: Slice | undefined): boolean {
  return a !== undefined && a.buffer === b?.buffer && a.offsetBytes === b.offsetBytes;
}
