/** What is measured, and what it is measured by: a model that is open, and a way to its data. */
import type { Device } from "../../device/device";
import type { Normalisation } from "../../formats/normalisation";
import type { Engine } from "../../generate/engine";
import type { Reporter } from "../../log/console";
import type { Model } from "../../model/model";
import type { Slab } from "../../model/slab";
import type { Tokenizer } from "../../text/tokenizer";

/** A model that is open on a device. */
export interface Subject {
  readonly device: Device;
  readonly model: Model;
  /** Its weights, then those of its adapters. */
  readonly slabs: readonly Slab[];
  readonly tokenizer: Tokenizer;
  readonly engine: Engine;
}

/** What is needed of a model that writes answers. */
export type Answering = Pick<Subject, "model" | "tokenizer" | "engine">;

/** A reward model, and what makes its scores comparable. */
export interface Scorer extends Subject {
  readonly normalisation: Normalisation;
}

export interface Reading {
  readonly console: Reporter;
  /** Where a data file is: on disk, inside the executable, or fetched by name. */
  find(path: string): Promise<string>;
}
