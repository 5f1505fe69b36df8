/** A slab on the device: one buffer that holds a value for every parameter (weights, gradients, or a moment). */
import type { Device, DeviceBuffer, Slice } from "../device/device";
import { fingerprintOf } from "../fingerprint";
import { isHalf, isQuantised } from "../tensor/stored";
import type { Tensor } from "../tensor/tensor";
import { narrowed, narrowedToF16, widened, widenedFromF16 } from "./half";
import type { Parameter, Parameters } from "./parameters";
import { dequantise, pack, type Quantisation, quantise, unpack } from "./quantised";

export class Slab implements Disposable {
  readonly buffer: DeviceBuffer;
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
    this.buffer = device.allocate(parameters.bytes + 4 * tail);
    if (values)
      for (const parameter of parameters.list)
        this.write(parameter, values.subarray(parameter.offset, parameter.offset + parameter.size));
  }

  /** Every parameter's slice, to be bound to `tensors[i]`, or to the parameters' own tensors. */
  bind(tensors: readonly Tensor[] = this.parameters.list.map(({ tensor }) => tensor)): Map<Tensor, Slice> {
    return new Map(this.parameters.list.map((parameter, i) => [tensors[i]!, this.sliceOf(parameter)]));
  }

  sliceOf({ offsetBytes, sizeBytes }: Parameter): Slice {
    return { buffer: this.buffer, offsetBytes, sizeBytes };
  }

  /** Elements of a slab of float32. */
  slice(offset: number, size: number): Slice {
    if (this.parameters.storage !== "f32")
      throw new Error(`elements of a slab in ${this.parameters.storage} have no address`);
    return { buffer: this.buffer, offsetBytes: 4 * offset, sizeBytes: 4 * size };
  }

  /** Values of a parameter from its element `first` on, which is even. Quantised ones are written whole. */
  write(parameter: Parameter, values: Float32Array, first = 0): void {
    const { dtype } = parameter.tensor;
    const whole = this.sliceOf(parameter);
    if (isQuantised(dtype)) {
      if (values.length !== parameter.size) throw new Error(`${parameter.name} is quantised: write it whole`);
      this.device.upload(whole, quantisedWords(parameter, values));
      return;
    }
    const width = isHalf(dtype) ? 2 : 4;
    const sizeBytes = 4 * Math.ceil((width * values.length) / 4);
    const slice = { ...whole, offsetBytes: whole.offsetBytes + width * first, sizeBytes };
    this.device.upload(slice, isHalf(dtype) ? this.narrowed(values) : values);
  }

  /** Into an array that is used again: a model comes in many parts. */
  private narrowed(values: Float32Array): Uint16Array {
    if (this.scratch.length < values.length) this.scratch = new Uint16Array(values.length);
    const to = this.scratch.subarray(0, values.length);
    return this.parameters.storage === "f16" ? narrowedToF16(values, to) : narrowed(values, to);
  }

  /** A parameter's values as numbers, in its own shape. Waits for the device. */
  read(parameter: Parameter): Float32Array<ArrayBuffer> {
    const { dtype } = parameter.tensor;
    if (isQuantised(dtype)) return unquantisedValues(parameter, this.wordsOf(parameter));
    const values = new Float32Array(parameter.size);
    if (isHalf(dtype)) {
      const halves = new Uint16Array(this.wordsOf(parameter).buffer, 0, values.length);
      if (dtype === "f16") widenedFromF16(halves, values);
      else widened(halves, values);
    } else this.device.download(this.sliceOf(parameter), values);
    return values;
  }

  /** Words as `wordsOf` gives them. */
  writeWords(parameter: Parameter, words: Uint32Array): void {
    this.device.upload(this.sliceOf(parameter), words);
  }

  /** As it is stored. Waits for the device. */
  wordsOf(parameter: Parameter): Uint32Array<ArrayBuffer> {
    const words = new Uint32Array(parameter.sizeBytes / 4);
    this.device.download(this.sliceOf(parameter), words);
    return words;
  }

  /** Every value, each parameter at its offset. Waits for the device. */
  download(): Float32Array<ArrayBuffer> {
    const values = new Float32Array(this.parameters.size);
    for (const parameter of this.parameters.list) values.set(this.read(parameter), parameter.offset);
    return values;
  }

  /** Another one as soon as a bit of the values is another. Waits for the device. */
  fingerprint(): string {
    return fingerprintOf(this.parameters.list.values().map((parameter) => this.wordsOf(parameter)));
  }

  [Symbol.dispose](): void {
    this.buffer.free();
  }
}

/** The words of a quantised parameter that are to stand for these values of it, in its own shape; `counts` as in `pack`. */
export function quantisedWords(parameter: Parameter, values: Float32Array, counts?: Float64Array): Uint32Array {
  const kind = parameter.tensor.dtype as Quantisation;
  return (turned(parameter) ? quantise : pack)(values, parameter.shape, kind, counts);
}

/** The values that they stand for, in its own shape. */
export function unquantisedValues(parameter: Parameter, words: Uint32Array): Float32Array<ArrayBuffer> {
  const kind = parameter.tensor.dtype as Quantisation;
  return (turned(parameter) ? dequantise : unpack)(words, parameter.shape, kind);
}

/** Whether it lies the other way round than its own shape says. */
function turned({ role }: Parameter): boolean {
  return role === "linear";
}

/** The slices of all parameters of several slabs. */
export function bindAll(slabs: readonly Slab[]): Map<Tensor, Slice> {
  return new Map(slabs.flatMap((slab) => [...slab.bind()]));
}
