/** A graph as text: what runs, in order, with shapes, inputs and buffers. Replaces print debugging. */
import type { Tensor } from "../tensor/tensor";
import { plan } from "./plan";

/** One line a node: `%12 matmul [64, 128] <- %3 %9 (slot 4)`. */
export function printGraph(outputs: readonly Tensor[]): string {
  const { nodes, places, slots } = plan(outputs);
  return nodes
    .map((node) => {
      const { root } = places.get(node)!;
      const where =
        root === node ? `slot ${slots.get(node)}` : `${node.inPlace ? "in place on" : "view of"} %${root.id}`;
      const inputs = node.inputs.map(({ id }) => ` %${id}`).join("");
      return `%${node.id} ${node.name} [${node.shape.join(", ")}]${inputs && ` <-${inputs}`} (${where})`;
    })
    .join("\n");
}
