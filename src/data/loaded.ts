/** How a data file is read, and what of it there is then. */
import type { Format, Located } from "./formats";
import type { TreeOptions } from "./oasst";
import type { BadRow } from "./row";

export interface LoadOptions {
  readonly trees: TreeOptions;
  /** What the records are; found by their fields if absent. */
  readonly format?: Format | undefined;
  /** Stops at the first record that cannot be used. */
  readonly strict: boolean;
}

export interface Loaded {
  readonly format: Format;
  /** What its records are called, where that is more than their format. */
  readonly said?: string;
  readonly read: number;
  readonly samples: readonly Located[];
  readonly bad: readonly BadRow[];
}
