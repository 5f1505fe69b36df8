/** A slab on the device: one buffer that holds a value for every parameter (weights, gradients, or a moment). */
import type { Buffer, Device, Slice } from "../device/device";
import type { Tensor } from "../tensor/tensor";
import { narrowed, narrowedToF16, widened, widenedFromF16 } from "./half";
import type { Parameters } from "./parameters";

/** Bytes of a slab: two for each element of matrices in 16 bits, else four. */
export function slabBytes({ size, half }: Parameters): number {
  return 2 * half + 4 * (size - half);
}

export class Slab implements Disposable {
  readonly buffer: Buffer;
  readonly parameters: Parameters;
  private readonly device: Device;
  private scratch = new Uint16Array(0);

  /** `tail`: elements behind the last parameter, for sums that are kept beside it. */
  constructor(
    device: Device,
    parameters: Parameters,
    { values, tail = 0 }: { values?: Float32Array; tail?: number } = {},
  ) {
    this.device = device;
    this.parameters = parameters;
    this.buffer = device.allocate(this.at(parameters.size + tail));
    if (values)
      for (const { offset, size } of parameters.list) this.upload(values.subarray(offset, offset + size), offset);
  }

  /** Byte of an element: those of matrices may take two, all others take four. */
  private at(element: number): number {
    const { half } = this.parameters;
    return 2 * Math.min(element, half) + 4 * Math.max(0, element - half);
  }

  private isHalf(offset: number): boolean {
    return offset < this.parameters.half;
  }

  /** Every parameter's slice, to be bound to `tensors[i]`, or to the parameters' own tensors. */
  bind(tensors: readonly Tensor[] = this.parameters.list.map(({ tensor }) => tensor)): Map<Tensor, Slice> {
    return new Map(this.parameters.list.map(({ offset, size }, i) => [tensors[i]!, this.slice(offset, size)]));
  }

  /** Elements of one parameter, or of several that are stored alike. */
  slice(offset: number, size: number): Slice {
    const sizeBytes = this.isHalf(offset) ? 4 * Math.ceil(size / 2) : 4 * size;
    return { buffer: this.buffer, offsetBytes: this.at(offset), sizeBytes };
  }

  /** Values of one parameter, or of several that are stored alike, from element `offset` on. */
  upload(values: Float32Array, offset = 0): void {
    this.device.upload(this.slice(offset, values.length), this.isHalf(offset) ? this.narrowed(values) : values);
  }

  /** Into an array that is used again: a model comes in many parts. */
  private narrowed(values: Float32Array): Uint16Array {
    if (this.scratch.length < values.length) this.scratch = new Uint16Array(values.length);
    const to = this.scratch.subarray(0, values.length);
    return this.parameters.storage === "f16" ? narrowedToF16(values, to) : narrowed(values, to);
  }

  /** The values from element `offset` on; all of the parameters' if nothing is said. */
  download(offset = 0, size = this.parameters.size - offset): Float32Array<ArrayBuffer> {
    const values = new Float32Array(size);
    const halves = Math.max(0, Math.min(size, this.parameters.half - offset));
    if (halves > 0) {
      const words = new Uint16Array(2 * Math.ceil(halves / 2));
      this.device.download(this.slice(offset, halves), words);
      const widen = this.parameters.storage === "f16" ? widenedFromF16 : widened;
      widen(words.subarray(0, halves), values.subarray(0, halves));
    }
    if (halves < size) this.device.download(this.slice(offset + halves, size - halves), values.subarray(halves));
    return values;
  }

  [Symbol.dispose](): void {
    this.buffer.free();
  }
}
