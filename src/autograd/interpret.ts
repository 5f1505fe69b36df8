/** Runs a graph on the CPU in float64: slow, exact, and needs no device. */
import { schedule, type Tensor, type Values } from "../tensor/tensor";

export type Feeds = ReadonlyMap<Tensor, Values>;

export function interpret(outputs: readonly Tensor[], feeds: Feeds): Values[] {
  const values = new Map(feeds);
  for (const node of schedule(outputs)) {
    if (values.has(node)) continue;
    if (!node.reference) throw new Error(`${node.name}: no value was fed`);
    values.set(node, node.reference(...node.inputs.map((x) => values.get(x)!)));
  }
  return outputs.map((output) => values.get(output)!);
}
