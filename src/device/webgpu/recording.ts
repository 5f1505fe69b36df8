/** A recorded list of dispatches: bind groups and params made once, then one compute pass a replay. */
import { expectBinding } from "../binding";
import type { Dispatch, Recording, Slice, Traits } from "../device";
import { writeParams } from "../params";
import type { WebGpuBuffer } from "./buffer";
import { type DawnDevice, usage } from "./dawn-device";
import { fuse } from "./fuse";
import type { Pipelines } from "./pipelines";
import type { Handle } from "./struct";
import type { Timer } from "./timer";

interface Step {
  readonly pipeline: Handle;
  readonly group: Handle;
  readonly dispatch: Dispatch;
}

type SetPipeline = (pass: Handle, pipeline: Handle) => void;
type SetGroup = (pass: Handle, index: number, group: Handle, count: bigint, offsets: null) => void;
type Launch = (pass: Handle, x: number, y: number, z: number) => void;

export interface Submission {
  readonly dawn: DawnDevice;
  readonly pipelines: Pipelines;
  readonly uniformAlignment: number;
  readonly traits: Traits;
  check(what: string): void;
  submit(commands: Handle): void;
  /** Set while profiling: gets each dispatch as a pass of its own. */
  readonly timer: Timer | null;
}

export class WebGpuRecording implements Recording {
  readonly dispatches: number;
  private readonly on: Submission;
  private readonly steps: Step[] = [];
  private readonly params: Handle;
  private freed = false;
  private readonly begin: (encoder: Handle, descriptor: Uint8Array | null) => Handle;
  private readonly setPipeline: SetPipeline;
  private readonly setGroup: SetGroup;
  private readonly launch: Launch;

  constructor(on: Submission, given: readonly Dispatch[]) {
    this.on = on;
    const dispatches = fuse(given);
    this.dispatches = dispatches.length;
    const { dawn } = on.dawn;
    this.begin = dawn.symbol("wgpuCommandEncoderBeginComputePass");
    this.setPipeline = dawn.symbol("wgpuComputePassEncoderSetPipeline");
    this.setGroup = dawn.symbol("wgpuComputePassEncoderSetBindGroup");
    this.launch = dawn.symbol("wgpuComputePassEncoderDispatchWorkgroups");

    const pipelines = dispatches.map(({ kernel }) => on.pipelines.get(kernel));
    const stride =
      Math.ceil((4 * Math.max(1, ...pipelines.map(({ params }) => params.length))) / on.uniformAlignment) *
      on.uniformAlignment;
    const sizeBytes = Math.max(16, stride);
    const bytes = new Uint8Array(sizeBytes * dispatches.length);
    const view = new DataView(bytes.buffer);
    dispatches.forEach((dispatch, i) => {
      writeParams(view, sizeBytes * i, dispatch, pipelines[i]!.params);
    });
    this.params = on.dawn.createBuffer(Math.max(16, bytes.length), usage.uniform | usage.copyDst);
    on.check("the params of a recording");
    if (bytes.length) on.dawn.writeBuffer(this.params, 0, bytes);
    dispatches.forEach((dispatch, i) => {
      const pipeline = pipelines[i]!;
      for (const slice of [dispatch.output, ...dispatch.inputs]) expectBinding(slice, dispatch, on.traits);
      const params = { buffer: this.params, offsetBytes: sizeBytes * i, sizeBytes };
      const group = on.dawn.createBindGroup(pipeline.layout, [
        params,
        ...[dispatch.output, ...dispatch.inputs].map(windowOf),
      ]);
      on.check(`binding ${dispatch.kernel.name} ${dispatch.kernel.entry}`);
      this.steps.push({ pipeline: pipeline.handle, group, dispatch });
    });
  }

  replay(): void {
    if (this.freed) throw new Error("this recording was disposed");
    if (this.steps.length === 0) return;
    if (this.on.timer) {
      this.replayTimed(this.on.timer);
      return;
    }
    const encoder = this.encoder();
    const pass = this.begin(encoder, null);
    for (const step of this.steps) this.dispatch(pass, step);
    this.end(pass);
    this.finish(encoder);
  }

  private replayTimed(timer: Timer): void {
    let encoder = this.encoder();
    for (const step of this.steps) {
      if (timer.full) {
        timer.flush(encoder);
        this.finish(encoder);
        timer.collect();
        encoder = this.encoder();
      }
      const { kernel } = step.dispatch;
      const pass = this.begin(encoder, timer.next(`${kernel.name}.${kernel.entry}`));
      this.dispatch(pass, step);
      this.end(pass);
    }
    timer.flush(encoder);
    this.finish(encoder);
    timer.collect();
  }

  private dispatch(pass: Handle, { pipeline, group, dispatch }: Step): void {
    const [x, y, z] = dispatch.workgroups;
    this.setPipeline(pass, pipeline);
    this.setGroup(pass, 0, group, 0n, null);
    this.launch(pass, x, y, z);
  }

  private encoder(): Handle {
    return this.on.dawn.dawn.call("wgpuDeviceCreateCommandEncoder", this.on.dawn.handle, null);
  }

  private end(pass: Handle): void {
    this.on.dawn.dawn.call("wgpuComputePassEncoderEnd", pass);
    this.on.dawn.dawn.call("wgpuComputePassEncoderRelease", pass);
  }

  private finish(encoder: Handle): void {
    const commands: Handle = this.on.dawn.dawn.call("wgpuCommandEncoderFinish", encoder, null);
    this.on.dawn.dawn.call("wgpuCommandEncoderRelease", encoder);
    this.on.submit(commands);
  }

  [Symbol.dispose](): void {
    if (this.freed) return;
    this.freed = true;
    for (const { group } of this.steps) this.on.dawn.release("BindGroup", group);
    this.on.dawn.releaseBuffer(this.params);
  }
}

function windowOf({ buffer, offsetBytes, sizeBytes }: Slice) {
  return { buffer: (buffer as WebGpuBuffer).live, offsetBytes, sizeBytes };
}
