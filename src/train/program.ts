/** A stage's graphs with their backward passes, compiled: gradients and sums are added onto the optimizer's slabs. */
import { gradients } from "../autograd/gradients";
import { Program } from "../autograd/program";
import type { Scratch } from "../autograd/scratch";
import type { Device } from "../device/device";
import type { Parameters } from "../model/parameters";
import { bindAll, type Slab } from "../model/slab";
import { accumulate } from "../ops/add";
import type { Optimizer, Trained } from "../optim/optimizer";
import { sizeOf } from "../tensor/shape";
import { input, type Tensor } from "../tensor/tensor";
import type { Batch, Graph, Stage } from "./stage";

/** The compiled graphs of a stage. */
export interface Programs extends Disposable {
  run(batch: Batch): void;
}

export function programsOf(
  device: Device,
  { graphs, scratch, trained, frozen }: Pick<Stage, "graphs" | "scratch" | "trained" | "frozen">,
  optimizer: Optimizer,
): Programs {
  const largestFirst = graphs.toReversed().map((graph) => {
    const program = trainingProgram(device, graph, { trained, frozen, optimizer, scratch });
    for (const [input, values] of Object.entries(graph.constants)) program.feed(graph.inputs[input]!, values);
    return program;
  });
  const programs = largestFirst.toReversed();
  return {
    run({ graph, values }) {
      const program = programs[graph]!;
      for (const [input, value] of Object.entries(values)) program.feed(graphs[graph]!.inputs[input]!, value);
      program.run();
    },
    [Symbol.dispose]() {
      for (const program of programs) program[Symbol.dispose]();
    },
  };
}

export interface Training {
  readonly trained: readonly Trained[];
  readonly frozen?: readonly Slab[];
  readonly optimizer: Optimizer;
  readonly scratch?: Scratch;
}

/** One micro-batch forward and backward. */
export function trainingProgram(
  device: Device,
  graph: Pick<Graph, "loss" | "sums">,
  { trained, frozen = [], optimizer, scratch }: Training,
): Program {
  const slabs = trained.map(({ weights }) => weights);
  const { outputs, slices, total } = trainingGraph(
    graph,
    slabs.map(({ parameters }) => parameters),
  );
  const bind = new Map([
    ...bindAll([...slabs, ...frozen]),
    ...optimizer.gradients.flatMap((slab, i) => [...slab.bind(slices[i]!)]),
    [total, { ...optimizer.sums, sizeBytes: 4 * sizeOf(total.shape) }] as const,
  ]);
  return new Program(device, outputs, { bind, ...(scratch && { scratch }) });
}

export interface TrainingGraph {
  readonly outputs: readonly Tensor[];
  /** What each parameter's gradient is added onto, slab by slab: to be bound to the gradient slabs. */
  readonly slices: readonly (readonly Tensor[])[];
  /** What the sums are added onto. */
  readonly total: Tensor;
}

/** The graph of a micro-batch with its backward pass. `trained`: the parameters of each slab. */
export function trainingGraph(
  { loss, sums }: Pick<Graph, "loss" | "sums">,
  trained: readonly Parameters[],
): TrainingGraph {
  const targets = trained.map(({ list }) => list.map(({ tensor }) => tensor));
  const slices = targets.map((list) => list.map(({ name, shape }) => input(`gradient of ${name}`, shape)));
  const total = input("sums of the step", sums.shape);
  const into = new Map(targets.flatMap((list, i) => list.map((target, j) => [target, slices[i]![j]!] as const)));
  const updated = gradients(loss, targets.flat(), { into });
  return { outputs: [...updated.filter((grad) => grad !== null), accumulate(total, sums)], slices, total };
}
