/** The processes that train one model together. Between what a rank computes and what all agree on stand only these two. */
import type { Slab } from "../model/slab";

export interface World {
  readonly rank: number;
  /** How many ranks there are. */
  readonly size: number;
  /** Adds up each slab over all ranks, in place, before gradients are measured. */
  sum(slabs: readonly Slab[]): Promise<void>;
  /** Gives every rank's part of each slab to all, after weights were changed. */
  gather(slabs: readonly Slab[]): Promise<void>;
}

/** Which part of a step's micro-batches is whose. */
export type Share = Pick<World, "rank" | "size">;

/** One process. */
export const alone: World = { rank: 0, size: 1, sum: async () => {}, gather: async () => {} };
