/** Memory for what programs work out on the way, shared by those that never run at the same time. */
import type { Device, DeviceBuffer } from "../device/device";

export class Scratch implements Disposable {
  private readonly device: Device;
  private readonly buffers: DeviceBuffer[] = [];
  private readonly sizes: number[] = [];

  constructor(device: Device) {
    this.device = device;
  }

  /** A buffer for each of these sizes in words of 4 bytes: all different, but also given to every other program. */
  take(words: readonly number[]): DeviceBuffer[] {
    const { chosen, sizes } = shared(this.sizes, words);
    for (const size of sizes.slice(this.sizes.length)) {
      this.buffers.push(this.device.allocate(4 * size));
      this.sizes.push(size);
    }
    return chosen.map((at) => this.buffers[at]!);
  }

  [Symbol.dispose](): void {
    for (const buffer of this.buffers) buffer.free();
  }
}

export interface Shared {
  /** Which buffer each slot gets. */
  readonly chosen: readonly number[];
  /** Sizes of all buffers: those that were there, then new ones. */
  readonly sizes: readonly number[];
}

/** Slots put into the buffers that there are: the largest first, each into the smallest that is left and fits, else into a new one. */
export function shared(sizes: readonly number[], wanted: readonly number[]): Shared {
  const all = [...sizes];
  const left = sizes.map((_, at) => at).sort((a, b) => sizes[a]! - sizes[b]! || a - b);
  const chosen = new Array<number>(wanted.length);
  const largestFirst = wanted.map((_, slot) => slot).sort((a, b) => wanted[b]! - wanted[a]! || a - b);
  for (const slot of largestFirst) {
    const size = wanted[slot]!;
    const fits = left.findIndex((at) => all[at]! >= size);
    chosen[slot] = fits < 0 ? all.push(size) - 1 : left.splice(fits, 1)[0]!;
  }
  return { chosen, sizes: all };
}
