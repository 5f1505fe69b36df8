/** A CPU device that looks after its kernels: what lies behind a tensor is NaN, and a dispatch changes its output and nothing else. */
import { CpuDevice } from "../../src/device/cpu/cpu";
import { fuse } from "../../src/device/cpu/fuse";
import type { Dispatch, Recording, Slice } from "../../src/device/device";

/** Tensors begin at multiples of this in their buffer: what lies between two is nobody's. */
const APART = 256;
/** Bytes behind the last tensor of a dispatch that are looked at. */
const REACH = 65536;

export class GuardedCpu extends CpuDevice {
  /** What kernels have changed that was not theirs. */
  readonly strayed: string[] = [];
  /** Before it lie the threads' own parts of the memory. */
  private readonly first = this.pool.heap.allocate(16);

  override record(dispatches: readonly Dispatch[]): Recording {
    const parts = fuse(dispatches).map((dispatch) => ({ dispatch, recording: super.record([dispatch]) }));
    return {
      dispatches: parts.length,
      replay: () => {
        for (const { dispatch, recording } of parts) this.watch(dispatch, recording);
      },
      [Symbol.dispose]() {
        for (const { recording } of parts) recording[Symbol.dispose]();
      },
    };
  }

  private watch(dispatch: Dispatch, recording: Recording): void {
    const { bytes } = this.pool.heap;
    const { inputs, output, kernel } = dispatch;
    for (const slice of [output, ...inputs]) {
      const [start, end] = placeOf(slice);
      const behind = Math.min(Math.ceil(slice.sizeBytes / APART) * APART, slice.buffer.sizeBytes - slice.offsetBytes);
      new Float32Array(bytes.buffer, end, (start + behind - end) >> 2).fill(Number.NaN);
    }
    // The dispatch itself is in this memory too, and counts its units there.
    const own = recording as unknown as { first: number; end: number };
    const allowed = [placeOf(output), [own.first, own.end] as const];
    if (kernel.entry === "statistics_forward") allowed.push(placeOf(inputs[1]!));
    allowed.sort(([a], [b]) => a - b);
    const last = Math.max(own.end, ...[output, ...inputs].map((slice) => placeOf(slice)[1])) + REACH;
    const { first } = this;
    const before = Buffer.from(bytes.slice(first, last));
    recording.replay();
    let at = first;
    for (const [start, end] of [...allowed, [first + before.length, 0] as const]) {
      if (start > at && before.compare(bytes, at, start, at - first, start - first) !== 0)
        this.strayed.push(`${kernel.name} ${kernel.entry} ${JSON.stringify(dispatch.params)}`);
      at = Math.max(at, end);
    }
  }
}

function placeOf({ buffer, offsetBytes, sizeBytes }: Slice): readonly [number, number] {
  const start = (buffer as unknown as { live: number }).live + offsetBytes;
  return [start, start + sizeBytes];
}
