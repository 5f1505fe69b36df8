/** What an optimizer's rule is given, and what it gives: how weights change by gradients that were measured. */
import type { Device, DeviceBuffer } from "../device/device";
import type { Slab } from "../model/slab";

/** A run of one slab's elements. */
export interface Window {
  readonly offset: number;
  readonly count: number;
}

export interface RuleOptions {
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  /** Decoupled weight decay, applied to matrices only. */
  readonly weightDecay: number;
  /** Muon's. */
  readonly momentum: number;
}

/** One of the slabs that are trained, with what goes by its elements. */
export interface Part {
  readonly weights: Slab;
  readonly gradients: Slab;
  /** First and second moments; the second is null where no element has one. */
  readonly moments: readonly [Slab, Slab | null];
  /** Runs of at most what one binding may hold. */
  readonly windows: readonly Window[];
  /** The norm of all gradients, what they are clipped by, and whether a step was bad: see norm.wgsl. */
  readonly stats: DeviceBuffer;
  /** The learning rate, the moments' corrections, the step. */
  readonly schedule: DeviceBuffer;
}

/** Changes the weights of a part; not at all after a bad step. */
export interface Applied extends Disposable {
  replay(): void;
}

export type Rule = (device: Device, part: Part, options: RuleOptions) => Applied;

/** How many of a window's elements decay: those at the slab's beginning. */
export function decayedIn({ weights }: Part, { offset, count }: Window): number {
  return Math.max(0, Math.min(count, weights.parameters.decayed - offset));
}
