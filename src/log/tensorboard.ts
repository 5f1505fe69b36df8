/** TensorBoard event files, scalars only: TFRecord frames round small protobufs, checked by masked CRC-32C. */
import { appendFileSync } from "node:fs";
import { join } from "node:path";

/** The frame of tensorflow/core/lib/io/record_writer.h: length, its CRC, data, its CRC. */
function frame(data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(12 + data.length + 4);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(data.length), true);
  view.setUint32(8, maskedCrc(bytes.subarray(0, 8)), true);
  bytes.set(data, 12);
  view.setUint32(12 + data.length, maskedCrc(data), true);
  return bytes;
}

const table = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let k = 0; k < 8; k++) c = c & 1 ? 0x82f63b78 ^ (c >>> 1) : c >>> 1;
  return c >>> 0;
});

/** CRC-32C (Castagnoli), rotated and offset as TFRecord wants it. */
export function maskedCrc(data: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of data) crc = table[(crc ^ byte) & 0xff]! ^ (crc >>> 8);
  crc = (crc ^ 0xffffffff) >>> 0;
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

// Protobuf wire types: 0 varint, 1 eight bytes, 2 length-delimited, 5 four bytes.
const key = (field: number, wire: number) => (field << 3) | wire;

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  while (rest >= 128) {
    bytes.push((rest % 128) | 128);
    rest = Math.floor(rest / 128);
  }
  return [...bytes, rest];
}

function delimited(field: number, bytes: Iterable<number>): number[] {
  const list = [...bytes];
  return [key(field, 2), ...varint(list.length), ...list];
}

const f64 = (field: number, value: number) => [key(field, 1), ...new Uint8Array(new Float64Array([value]).buffer)];
const f32 = (field: number, value: number) => [key(field, 5), ...new Uint8Array(new Float32Array([value]).buffer)];
const text = (value: string) => new TextEncoder().encode(value);

/** Event { wall_time = 1, step = 2, file_version = 3, summary = 5 { value = 1 { tag = 1, simple_value = 2 } } }. */
export function scalarEvent(wallTime: number, step: number, scalars: Readonly<Record<string, number>>): Uint8Array {
  const values = Object.entries(scalars).flatMap(([tag, value]) =>
    delimited(1, [...delimited(1, text(tag)), ...f32(2, value)]),
  );
  return frame(Uint8Array.from([...f64(1, wallTime), key(2, 0), ...varint(step), ...delimited(5, values)]));
}

/** The first event of every file. */
export function versionEvent(wallTime: number): Uint8Array {
  return frame(Uint8Array.from([...f64(1, wallTime), ...delimited(3, text("brain.Event:2"))]));
}

export interface EventFile {
  write(step: number, scalars: Readonly<Record<string, number>>): void;
}

/** A new event file in `directory`; TensorBoard joins the files of a resumed run by step. */
export function openEvents(directory: string): EventFile {
  const now = () => Date.now() / 1000;
  const path = join(directory, `events.out.tfevents.${Math.floor(now())}.dawngrad.${process.pid}`);
  appendFileSync(path, versionEvent(now()));
  return { write: (step, scalars) => appendFileSync(path, scalarEvent(now(), step, scalars)) };
}
