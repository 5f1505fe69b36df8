/** safetensors files: a JSON header with names, types and places, then raw little-endian data. Read by parts, written by parts. */
import { closeSync, fsyncSync, openSync, readSync, statSync, writeSync } from "node:fs";
import { z } from "zod";
import { shown, UserError } from "../errors";
import { unreadable } from "../files";
import { widened } from "../model/half";
import { sizeOf } from "../tensor/shape";
import { type Pieces, wholly } from "../tick";

export interface TensorInfo {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  /** First byte of its data, from the file's beginning. */
  readonly start: number;
  readonly end: number;
}

export interface SafetensorsFile extends Disposable {
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly metadata: Readonly<Record<string, string>>;
  /** Reads a tensor's values from element `first` on into `into`, as float32. F32, F16 and BF16 can be read. */
  read(info: TensorInfo, into: Float32Array, first?: number): void;
  /** Reads a tensor's bytes as they are: all of them. */
  readBytes(info: TensorInfo, into: Uint8Array): void;
}

/** A model of 1,024 layers needs about 2 MB; parsing costs many times the bytes in memory. */
const MAX_HEADER_BYTES = 16 << 20;
/** Bytes of an element, by its type's name. */
const bytesOf: ReadonlyMap<unknown, number> = new Map([
  ["F64", 8],
  ["F32", 4],
  ["F16", 2],
  ["BF16", 2],
  ["F8_E4M3", 1],
  ["F8_E5M2", 1],
  ["I64", 8],
  ["I32", 4],
  ["I16", 2],
  ["I8", 1],
  ["U64", 8],
  ["U32", 4],
  ["U16", 2],
  ["U8", 1],
  ["BOOL", 1],
]);

/** Bytes of an element of a type by its name. */
export function elementBytes(dtype: string): number {
  return bytesOf.get(dtype)!;
}

/** Opens a file and checks its whole header. Throws a UserError that names what is wrong. */
export function openSafetensors(path: string): SafetensorsFile {
  const bad = (why: string) =>
    new UserError(`${path} is not a whole safetensors file: ${why}`, {
      hint: "it may be truncated or damaged; save or fetch it again",
    });
  let fd: number;
  let size: number;
  try {
    const found = statSync(path);
    // Opening a pipe would wait for who writes to it.
    if (!found.isFile()) throw new Error(found.isDirectory() ? "it is a folder" : "it is no regular file");
    size = found.size;
    fd = openSync(path, "r");
  } catch (error) {
    throw unreadable(path, error);
  }
  const fill = (raw: Uint8Array, start: number, { name }: TensorInfo) => {
    for (let at = 0; at < raw.length; ) {
      const count = readSync(fd, raw, at, Math.min(raw.length - at, 1 << 28), start + at);
      if (count === 0) throw bad(`it ends inside ${name}`);
      at += count;
    }
  };
  try {
    const header = readHeader(fd, size, bad);
    return {
      ...header,
      read(info, into, first = 0) {
        const { dtype } = info;
        if (dtype !== "F32" && dtype !== "F16" && dtype !== "BF16")
          throw new UserError(`${path}: tensor ${info.name} has type ${dtype}, expected F32, F16 or BF16`);
        const width = bytesOf.get(dtype)!;
        const start = info.start + width * first;
        if (start + width * into.length > info.end)
          throw new Error(`${info.name} has no ${into.length} from ${first} on`);
        const raw =
          width === 4
            ? new Uint8Array(into.buffer, into.byteOffset, into.byteLength)
            : new Uint8Array(width * into.length);
        fill(raw, start, info);
        if (dtype === "F16") into.set(new Float16Array(raw.buffer));
        if (dtype === "BF16") widened(new Uint16Array(raw.buffer), into);
      },
      readBytes(info, into) {
        if (into.length !== info.end - info.start) throw new Error(`${info.name} has not ${into.length} bytes`);
        fill(into, info.start, info);
      },
      [Symbol.dispose]: () => closeSync(fd),
    };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function readHeader(fd: number, size: number, bad: (why: string) => UserError) {
  const length = new Uint8Array(8);
  if (readSync(fd, length, 0, 8, 0) < 8) throw bad("it has no header");
  const headerBytes = new DataView(length.buffer).getBigUint64(0, true);
  if (headerBytes > BigInt(MAX_HEADER_BYTES))
    throw bad(`its header claims ${headerBytes} bytes, at most ${MAX_HEADER_BYTES} are read`);
  if (8 + Number(headerBytes) > size) throw bad(`its header claims ${headerBytes} bytes, and the file has ${size}`);
  const raw = new Uint8Array(Number(headerBytes));
  readSync(fd, raw, 0, raw.length, 8);
  let parsed: unknown;
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(raw);
    parsed = JSON.parse(text);
  } catch {
    throw bad("its header is not JSON");
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) throw bad("its header is not an object");
  const { __metadata__: metadata, ...entries } = parsed as Record<string, unknown>;
  const begin = 8 + raw.length;
  const tensors = new Map(
    Object.entries(entries).map(([name, entry]) => [name, tensorInfo(name, entry, { begin, size, bad })]),
  );
  // JSON.parse keeps the last of two entries of one name.
  const written = text.match(/"data_offsets"\s*:\s*\[/g)?.length ?? 0;
  if (written > tensors.size) throw bad("its header names a tensor twice");
  const ordered = [...tensors.values()].sort((a, b) => a.start - b.start || a.end - b.end);
  ordered.forEach((info, i) => {
    if (i > 0 && info.start < ordered[i - 1]!.end) throw bad(`${info.name} overlaps ${ordered[i - 1]!.name}`);
  });
  return { tensors, metadata: textsOf(metadata ?? {}, bad) };
}

function textsOf(metadata: unknown, bad: (why: string) => UserError): Readonly<Record<string, string>> {
  const texts = Array.isArray(metadata) ? null : z.record(z.string(), z.string()).safeParse(metadata).data;
  if (!texts) throw bad("its __metadata__ is no object of texts");
  return texts;
}

function tensorInfo(
  name: string,
  entry: unknown,
  { begin, size, bad }: { begin: number; size: number; bad: (why: string) => UserError },
): TensorInfo {
  const {
    dtype,
    shape,
    data_offsets: offsets,
  } = (entry ?? {}) as { dtype?: unknown; shape?: unknown; data_offsets?: unknown };
  const whole = (list: unknown): list is number[] =>
    Array.isArray(list) && list.every((n) => Number.isSafeInteger(n) && n >= 0);
  const width = bytesOf.get(dtype);
  if (width === undefined) throw bad(`${name} has the unknown type ${shown(dtype)}`);
  if (!whole(shape)) throw bad(`${name} has no valid shape`);
  if (!whole(offsets) || offsets.length !== 2 || offsets[0]! > offsets[1]!)
    throw bad(`${name} has no valid data_offsets`);
  const [start, end] = [begin + offsets[0]!, begin + offsets[1]!];
  if (end > size) throw bad(`${name} ends at byte ${end}, and the file has ${size}`);
  const wanted = sizeOf(shape) * width;
  if (end - start !== wanted) throw bad(`${name} of shape [${shape}] needs ${wanted} bytes and has ${end - start}`);
  return { name, dtype: dtype as string, shape, start, end };
}

/** A tensor to be written: its values are asked for when their turn comes. */
export interface NamedValues {
  readonly name: string;
  readonly shape: readonly number[];
  /** F32 if absent. */
  readonly dtype?: string;
  /** Of another type than F32, its bytes. */
  values(): Float32Array | Uint8Array;
}

/** Writes a file and syncs it to disk. Written in place: give it a temporary name and rename. */
export function writeSafetensors(
  path: string,
  tensors: readonly NamedValues[],
  metadata: Readonly<Record<string, string>> = { format: "pt" },
): void {
  wholly(safetensorsWriting(path, tensors, metadata));
}

/** The same tensor by tensor. */
export function* safetensorsWriting(
  path: string,
  tensors: readonly NamedValues[],
  metadata: Readonly<Record<string, string>> = { format: "pt" },
): Pieces<void> {
  const header: Record<string, unknown> = { __metadata__: metadata };
  let at = 0;
  for (const { name, shape, dtype = "F32" } of tensors) {
    const end = at + elementBytes(dtype) * sizeOf(shape);
    header[name] = { dtype, shape, data_offsets: [at, end] };
    at = end;
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  const padded = Math.ceil(json.length / 8) * 8;
  const head = new Uint8Array(8 + padded).fill(0x20);
  new DataView(head.buffer).setBigUint64(0, BigInt(padded), true);
  head.set(json, 8);
  const fd = openSync(path, "w");
  try {
    writeAll(fd, head);
    for (const tensor of tensors) {
      const values = tensor.values();
      writeAll(fd, new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
      yield;
    }
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function writeAll(fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at, Math.min(bytes.length - at, 1 << 28));
}
