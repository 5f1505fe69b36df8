/** A slab on the device: one buffer that holds a value for every parameter (weights, gradients, or a moment). */
import type { Buffer, Device, Slice } from "../device/device";
import type { Tensor } from "../tensor/tensor";
import type { Parameters } from "./parameters";

export class Slab implements Disposable {
  readonly buffer: Buffer;
  readonly parameters: Parameters;
  private readonly device: Device;

  /** `tail`: elements behind the last parameter, for sums that are kept beside it. */
  constructor(
    device: Device,
    parameters: Parameters,
    { values, tail = 0 }: { values?: Float32Array; tail?: number } = {},
  ) {
    this.device = device;
    this.parameters = parameters;
    this.buffer = device.allocate(4 * (parameters.size + tail));
    if (values) this.upload(values);
  }

  /** Every parameter's slice, to be bound to `tensors[i]`, or to the parameters' own tensors. */
  bind(tensors: readonly Tensor[] = this.parameters.list.map(({ tensor }) => tensor)): Map<Tensor, Slice> {
    return new Map(this.parameters.list.map(({ offset, size }, i) => [tensors[i]!, this.slice(offset, size)]));
  }

  slice(offset: number, size: number): Slice {
    return { buffer: this.buffer, offsetBytes: 4 * offset, sizeBytes: 4 * size };
  }

  upload(values: Float32Array, offset = 0): void {
    this.device.upload(this.slice(offset, values.length), values);
  }

  /** The values from element `offset` on; all of the parameters' if nothing is said. */
  download(offset = 0, size = this.parameters.size - offset): Float32Array<ArrayBuffer> {
    const values = new Float32Array(size);
    this.device.download(this.slice(offset, size), values);
    return values;
  }

  [Symbol.dispose](): void {
    this.buffer.free();
  }
}
