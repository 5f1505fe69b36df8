/** What the inputs of linear layers are like on calibrating text: which of them are large. */
import { Program } from "../autograd/program";
import type { Device } from "../device/device";
import { type Model, observed } from "../model/model";
import { bindAll, type Slab } from "../model/slab";
import { square } from "../ops/elementwise";
import { matmul } from "../ops/matmul";
import { concat } from "../ops/parts";
import { input, type Tensor, view } from "../tensor/tensor";
import { ticker } from "../tick";
import type { Sequence } from "./sequence";

/** Tokens of a batch, about. */
const BATCH_TOKENS = 1024;

/** For each linear layer the mean square of each of its inputs over all tokens, by the layer's name. */
export async function inputSquares(
  { device, model, slabs }: { readonly device: Device; readonly model: Model; readonly slabs: readonly Slab[] },
  sequences: readonly Sequence[],
  onProgress: (done: number, total: number) => void = () => {},
): Promise<ReadonlyMap<string, Float64Array>> {
  const length = Math.min(model.config.context, Math.max(...sequences.map(({ ids }) => ids.length)));
  const rows = Math.min(sequences.length, Math.max(1, Math.floor(BATCH_TOKENS / length)));
  const size = rows * length;
  const [tokens, positions] = [input("tokens", [size], "u32"), input("positions", [size], "u32")];
  const counted = input("counted", [1, size]);
  const inputs = new Map<string, Tensor>();
  observed(model, (name, x) => inputs.set(name, x)).hidden(tokens, positions, { length });
  const names = [...inputs.keys()];
  const sums = concat([...inputs.values()].map((x) => view(matmul(counted, square(x)), [x.shape[1]!])));
  using program = new Program(device, [sums], { bind: bindAll(slabs) });
  program.feed(
    positions,
    Uint32Array.from({ length: size }, (_, i) => i % length),
  );
  const [ids, counts] = [new Uint32Array(size), new Float32Array(size)];
  const totals = new Float64Array(sums.shape[0]!);
  let count = 0;
  const pause = ticker();
  for (let at = 0; at < sequences.length; at += rows) {
    ids.fill(0);
    counts.fill(0);
    sequences.slice(at, at + rows).forEach((sequence, row) => {
      const own = sequence.ids.subarray(0, length);
      ids.set(own, row * length);
      counts.fill(1, row * length, row * length + own.length);
      count += own.length;
    });
    await pause();
    program.feed(tokens, ids);
    program.feed(counted, counts);
    program.run();
    program.read(sums).forEach((sum, i) => {
      totals[i]! += sum;
    });
    onProgress(Math.min(at + rows, sequences.length), sequences.length);
  }
  let first = 0;
  return new Map(
    names.map((name) => {
      const own = totals.subarray(first, (first += inputs.get(name)!.shape[1]!));
      return [name, own.map((sum) => sum / count)];
    }),
  );
}
