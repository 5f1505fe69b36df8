/** What quantisation scales by. */

/** The largest magnitude of each run of `size` values. */
export function largestOf(values: Float32Array, size: number): Float32Array {
  const largest = new Float32Array(Math.ceil(values.length / size));
  for (let run = 0; run < largest.length; run++) {
    const end = Math.min((run + 1) * size, values.length);
    let most = 0;
    for (let i = run * size; i < end; i++) most = Math.max(most, Math.abs(values[i]!));
    largest[run] = most;
  }
  return largest;
}
