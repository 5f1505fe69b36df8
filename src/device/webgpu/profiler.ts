/** Timestamp queries: how long each kernel ran on the device. Each dispatch becomes a pass of its own while it runs. */
import type { KernelTime } from "../device";
import { type DawnDevice, timedPass, usage } from "./dawn-device";
import type { Handle } from "./struct";
import type { Timer } from "./timer";

const PAIRS = 512;

export class Profiler implements Timer {
  private readonly dawn: DawnDevice;
  private readonly queries: Handle;
  private readonly resolved: Handle;
  private readonly staging: Handle;
  private readonly descriptors: { readonly bytes: Uint8Array }[];
  private pending: string[] = [];
  private readonly totals = new Map<string, { count: number; nanoseconds: number }>();

  constructor(dawn: DawnDevice) {
    this.dawn = dawn;
    this.queries = dawn.createTimestamps(2 * PAIRS);
    this.resolved = dawn.createBuffer(16 * PAIRS, usage.queryResolve | usage.copySrc);
    this.staging = dawn.createBuffer(16 * PAIRS, usage.mapRead | usage.copyDst);
    this.descriptors = Array.from({ length: PAIRS }, (_, i) => timedPass(this.queries, 2 * i, 2 * i + 1));
  }

  get full(): boolean {
    return this.pending.length === PAIRS;
  }

  next(kernel: string): Uint8Array {
    this.pending.push(kernel);
    return this.descriptors[this.pending.length - 1]!.bytes;
  }

  flush(encoder: Handle): void {
    const { dawn } = this.dawn;
    const sizeBytes = 16 * this.pending.length;
    dawn.call(
      "wgpuCommandEncoderResolveQuerySet",
      encoder,
      this.queries,
      0,
      2 * this.pending.length,
      this.resolved,
      0n,
    );
    dawn.call("wgpuCommandEncoderCopyBufferToBuffer", encoder, this.resolved, 0n, this.staging, 0n, BigInt(sizeBytes));
  }

  collect(): void {
    const names = this.pending;
    this.pending = [];
    this.dawn.readMapped(this.staging, 16 * names.length, (bytes) => {
      const ticks = new BigUint64Array(bytes);
      names.forEach((name, i) => {
        const total = this.totals.get(name) ?? { count: 0, nanoseconds: 0 };
        total.count++;
        total.nanoseconds += Number(ticks[2 * i + 1]! - ticks[2 * i]!);
        this.totals.set(name, total);
      });
    });
  }

  /** The dearest kernel first. */
  get table(): KernelTime[] {
    return [...this.totals]
      .map(([kernel, { count, nanoseconds }]) => ({ kernel, count, microseconds: nanoseconds / 1000 }))
      .sort((a, b) => b.microseconds - a.microseconds);
  }

  free(): void {
    this.dawn.release("QuerySet", this.queries);
    this.dawn.releaseBuffer(this.resolved);
    this.dawn.releaseBuffer(this.staging);
  }
}
