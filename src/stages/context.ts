/** What a stage is built from: the device, the run's folder, the model and the tokenizer that the pipeline chose. */
import type { Device } from "../device/device";
import type { Console } from "../log/console";
import type { Gpt2 } from "../model/gpt2";
import type { Slab } from "../model/slab";
import type { Tokenizer } from "../text/tokenizer";

export interface Context {
  readonly device: Device;
  readonly seed: number;
  readonly tokenizer: Tokenizer;
  readonly model: Gpt2;
  readonly weights: Slab;
  readonly console: Console;
  /** Where a data file is: on disk, or inside the executable. */
  find(path: string): string;
}
