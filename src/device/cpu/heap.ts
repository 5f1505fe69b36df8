/** Memory of the CPU device: one shared WebAssembly memory, dealt out in blocks. It grows as needed and is used again once freed. */
import { freemem } from "node:os";
import { UserError } from "../../errors";
import { mebibytes } from "../size";

const PAGE = 65536;
/** A WebAssembly memory with 32-bit addresses ends here. */
export const MOST_BYTES = 65535 * PAGE;
/** Where the kernels' own constants begin: behind the control block. */
export const STATIC_BYTES = 4096;
/** Blocks begin at multiples of a cache line, and kernels may read this far past the end of one: the memory ends later than the last. */
const ALIGNMENT = 64;
/** The memory grows by at least this much. */
const STEP = 16 << 20;

interface Gap {
  at: number;
  size: number;
}

export class Heap {
  readonly memory: WebAssembly.Memory;
  private readonly sizes = new Map<number, number>();
  /** Free blocks below `top`, in order of address, never touching one another. */
  private readonly gaps: Gap[] = [];
  /** Everything from here on was never used, and is zero. */
  private top: number;
  private view: Uint8Array;
  private readonly machineFree: () => number;

  /** The first `reserved` bytes are not dealt out. `machineFree` says how much memory the machine has left. */
  constructor(memory: WebAssembly.Memory, reserved: number, machineFree: () => number = freemem) {
    this.memory = memory;
    this.machineFree = machineFree;
    this.top = roundUp(reserved, PAGE);
    this.view = new Uint8Array(memory.buffer);
    this.grow(this.top);
  }

  /** All bytes of the memory as it is now. */
  get bytes(): Uint8Array {
    return this.view;
  }

  /** What could still be dealt out: what is free in here, and what the machine and the address space leave to grow by. */
  get freeBytes(): number {
    const inside = this.gaps.reduce((sum, { size }) => sum + size, 0) + this.view.length - this.top;
    return inside + Math.min(this.machineFree(), MOST_BYTES - this.view.length);
  }

  /** Address of a zeroed block. */
  allocate(sizeBytes: number): number {
    const size = roundUp(sizeBytes + 16, ALIGNMENT);
    const gap = this.gaps.find((gap) => gap.size >= size);
    let at: number;
    if (gap) {
      at = gap.at;
      gap.at += size;
      gap.size -= size;
      if (gap.size === 0) this.gaps.splice(this.gaps.indexOf(gap), 1);
      this.view.fill(0, at, at + size);
    } else {
      at = this.top;
      this.grow(at + size + ALIGNMENT);
      this.top = at + size;
    }
    this.sizes.set(at, size);
    return at;
  }

  free(at: number): void {
    const size = this.sizes.get(at);
    if (size === undefined) throw new Error(`there is no block at ${at}`);
    this.sizes.delete(at);
    const next = this.gaps.findIndex((gap) => gap.at > at);
    const i = next < 0 ? this.gaps.length : next;
    this.gaps.splice(i, 0, { at, size });
    this.join(i);
    if (i > 0) this.join(i - 1);
  }

  private join(i: number): void {
    const [gap, after] = [this.gaps[i]!, this.gaps[i + 1]];
    if (!after || gap.at + gap.size !== after.at) return;
    gap.size += after.size;
    this.gaps.splice(i + 1, 1);
  }

  private grow(end: number): void {
    const have = this.view.length;
    if (end <= have) return;
    const need = end - have;
    if (end > MOST_BYTES) {
      throw new UserError(
        `out of memory: ${mebibytes(need)} more are needed beside ${mebibytes(have)}, and a WebAssembly memory ends at 4096 MiB`,
        { hint: SMALLER },
      );
    }
    const free = this.machineFree();
    if (need > free) {
      throw new UserError(
        `out of memory: ${mebibytes(need)} more are needed, and this machine has ${mebibytes(free)} free`,
        {
          hint: SMALLER,
        },
      );
    }
    const wanted = Math.min(Math.max(need, STEP), MOST_BYTES - have);
    try {
      this.memory.grow(Math.ceil(wanted / PAGE));
    } catch {
      throw new UserError(`out of memory: the system refused ${mebibytes(need)} more beside ${mebibytes(have)}`, {
        hint: SMALLER,
      });
    }
    this.view = new Uint8Array(this.memory.buffer);
  }
}

const SMALLER = "use fewer rows or tokens a batch, a smaller model, or another device (--device gpu or software)";

function roundUp(value: number, to: number): number {
  return Math.ceil(value / to) * to;
}
