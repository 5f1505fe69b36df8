/** What training tells: the console, metrics.jsonl and TensorBoard's files. */
import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { duration, memory, openConsole, short } from "../../src/log/console";
import { openMetrics } from "../../src/log/metrics";
import { maskedCrc, scalarEvent, versionEvent } from "../../src/log/tensorboard";
import { temporaryFolder } from "../support/folder";

describe("TensorBoard event files", () => {
  test("have CRC-32C as RFC 3720 defines it, masked as TFRecord does", () => {
    // Check value of CRC-32C over "123456789": 0xe3069283.
    const crc = 0xe3069283;
    const masked = (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
    expect(maskedCrc(new TextEncoder().encode("123456789"))).toBe(masked);
  });
  test("begin with the version event, byte for byte", () => {
    const event = versionEvent(1);
    // Length 24; wall_time 1.0 as field 1; "brain.Event:2" as field 3.
    expect(Buffer.from(event.subarray(0, 8)).toString("hex")).toBe("1800000000000000");
    expect(Buffer.from(event.subarray(12, 36)).toString("hex")).toBe(
      `09000000000000f03f1a0d${Buffer.from("brain.Event:2").toString("hex")}`,
    );
    expect(event.length).toBe(8 + 4 + 24 + 4);
  });
  test("carry scalars by step", () => {
    const event = scalarEvent(1, 300, { loss: 1.5 });
    const hex = Buffer.from(event.subarray(12, -4)).toString("hex");
    // step 300 as a varint; summary { value { tag "loss", simple_value 1.5 } }
    expect(hex).toBe(`09000000000000f03f10ac022a0d0a0b0a04${Buffer.from("loss").toString("hex")}150000c03f`);
  });
});

test("metrics of a resumed run lose the lines past its checkpoint and a line that was cut off", () => {
  using folder = temporaryFolder();
  const path = join(folder.path, "metrics.jsonl");
  writeFileSync(path, '{"step":1,"loss":3}\n{"step":2,"loss":2}\n{"step":3,"lo');
  openMetrics(folder.path, 1).write(2, { loss: 2.5 });
  expect(readFileSync(path, "utf8")).toBe('{"step":1,"loss":3}\n{"step":2,"loss":2.5}\n');
  expect(readdirSync(folder.path).some((name) => name.startsWith("events.out.tfevents."))).toBe(true);
});

/** A stream that keeps what is written. */
function recorder(isTTY: boolean, columns = 40) {
  const written: string[] = [];
  return {
    written,
    stream: { isTTY, columns, write: (text: string) => written.push(text) } as unknown as NodeJS.WriteStream,
  };
}

describe("progress", () => {
  test("is plain lines on a pipe", () => {
    const { written, stream } = recorder(false);
    const console = openConsole(stream);
    console.status("step 1");
    console.status("step 2");
    console.note("saved");
    expect(written.join("")).toBe("step 1\nstep 2\nsaved\n");
  });
  test("is one rewritten line on a terminal, cut to its width", () => {
    const { written, stream } = recorder(true, 12);
    const console = openConsole(stream);
    console.status("step 1");
    console.status("step 2 of very many");
    console.note("saved");
    expect(written).toEqual(["step 1", "\r\x1b[K", "step 2 of …", "\r\x1b[K", "saved\n"]);
  });
});

test("colour is for terminals, and not where NO_COLOR is set", () => {
  const before = process.env.NO_COLOR;
  try {
    delete process.env.NO_COLOR;
    expect([false, true].map((isTTY) => openConsole(recorder(isTTY).stream).colour)).toEqual([false, true]);
    process.env.NO_COLOR = "1";
    expect(openConsole(recorder(true).stream).colour).toBe(false);
  } finally {
    if (before === undefined) delete process.env.NO_COLOR;
    else process.env.NO_COLOR = before;
  }
});

test("numbers are short and have units", () => {
  expect([duration(5), duration(190), duration(3720)]).toEqual(["5s", "3m10s", "1h02m"]);
  expect([short(12), short(61234), short(3.4e6), short(1.5e9)]).toEqual(["12", "61.2k", "3.40M", "1.50G"]);
  expect([memory(3 << 20), memory(3 * 2 ** 30)]).toEqual(["3.0 MiB", "3.00 GiB"]);
});
