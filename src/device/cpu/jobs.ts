/** A recording in shared memory: one job a dispatch, in the layout of kernels/cpu/job.ts. */
import type { Dispatch, Slice } from "../device";
import { writeParams } from "../params";

/** Bytes of a job, and where its parts begin. */
export const JOB = 256;
const MICROSECONDS = 8;
const KERNEL = 64;
const GROUPS = 68;
const OUTPUT = 80;
const INPUTS = 84;
const PARAMS = 128;
const CONSTANTS = 168;
const MOST_INPUTS = (PARAMS - INPUTS) / 4;
const MOST_PARAMS = (CONSTANTS - PARAMS) / 4;

/** Constants that change what a kernel computes, in the order of kernels/cpu/job.ts. HEAD is in vectors of four. */
const constants = [
  "TRANSPOSE_A",
  "TRANSPOSE_B",
  "BIAS",
  "GELU",
  "ACCUMULATE",
  "HEAD",
  "PART",
  "STORED",
  "SEGMENTS",
  "OPERATION",
];
/** Constants that only say how a GPU shares out the work. */
const sharing = new Set(["LANES", "ROWS", "WORKGROUP", "STAGED", "KEYS"]);

/** `kernel`: the number of the dispatch's kernel; `address`: where a slice begins in memory. */
export function writeJob(
  view: DataView,
  at: number,
  dispatch: Dispatch,
  { kernel, address }: { kernel: number; address: (slice: Slice) => number },
): void {
  const { inputs, output, params, workgroups } = dispatch;
  const name = `${dispatch.kernel.name} ${dispatch.kernel.entry}`;
  const most = Math.min(MOST_INPUTS, (dispatch.kernel.source.match(/@binding\(/g)?.length ?? 0) - 2);
  if (inputs.length > most) throw new Error(`binding ${name}: ${inputs.length} inputs, the kernel has at most ${most}`);
  if (Object.keys(params).length > MOST_PARAMS)
    throw new Error(`${name}: more than ${MOST_PARAMS} params do not fit a job`);
  view.setUint32(at + KERNEL, kernel, true);
  workgroups.forEach((count, i) => {
    view.setUint32(at + GROUPS + 4 * i, count, true);
  });
  view.setUint32(at + OUTPUT, address(output), true);
  inputs.forEach((slice, i) => {
    view.setUint32(at + INPUTS + 4 * i, address(slice), true);
  });
  writeParams(view, at + PARAMS, dispatch);
  for (const [constant, value] of Object.entries({ ...dispatch.kernel.constants, ...dispatch.kernel.specialize })) {
    const i = constants.indexOf(constant);
    if (i >= 0) view.setUint32(at + CONSTANTS + 4 * i, numberOf(value), true);
    else if (!sharing.has(constant)) throw new Error(`${name}: the CPU device does not know the constant ${constant}`);
  }
}

/** 16u is 16, true is 1. */
function numberOf(value: number | boolean | string): number {
  return typeof value === "string" ? Number.parseInt(value, 10) : Number(value);
}

/** Takes the microseconds that a job has run since they were last taken. */
export function takeTime(view: DataView, at: number): number {
  const microseconds = view.getFloat64(at + MICROSECONDS, true);
  view.setFloat64(at + MICROSECONDS, 0, true);
  return microseconds;
}
