/** Reverse mode: a backward pass is more graph, built from each op's `vjp`. */
import { accumulate, add, addTo } from "../ops/add";
import { ones, zeros } from "../ops/fill";
import { sameShape, sizeOf } from "../tensor/shape";
import { madeSince, schedule, type Tensor, tensor, tensorCount, view } from "../tensor/tensor";

export interface GradientOptions {
  /** The gradient of `output`; ones if absent. */
  readonly seed?: Tensor;
  /** For a target: the tensor that its gradient is added onto in place, such as a slice of the gradient slab. */
  readonly into?: ReadonlyMap<Tensor, Tensor>;
  /** The graph begins at the targets: what they were computed from gets nothing through them. */
  readonly fromTargets?: boolean;
}

/**
 * Adds the backward pass of `output` to the graph and returns the gradient of each target, or null where none flows.
 * With `into`, that gradient is the slice after everything was added onto it. Throws where a gradient that a target needs
 * reaches a node without a rule: `detach` says that one is to stop.
 */
export function gradients(
  output: Tensor,
  targets: readonly Tensor[],
  { seed = ones(output.shape), into = new Map(), fromTargets = false }: GradientOptions = {},
): (Tensor | null)[] {
  const nodes = schedule([output]);
  const needed = upTo(targets, nodes);
  const partly = readByParts(into, nodes);
  const ends = new Set(fromTargets ? targets : []);
  const grads = new Map<Tensor, Tensor>([[output, seed]]);
  const parts = new Map<Tensor, Tensor[]>();
  for (const node of nodes.toReversed()) {
    const grad = grads.get(node);
    if (!grad || ends.has(node) || !node.inputs.some((x) => needed.has(x))) continue;
    if (isView(node) && partly.has(node.inputs[0]!)) continue;
    const count = tensorCount();
    const found = inputGradients(node, grad);
    found.forEach((inputGrad, i) => {
      const x = node.inputs[i]!;
      if (!inputGrad || !needed.has(x)) return;
      const slice = sliceOf(x, into, partly);
      const source = slice?.part ? partOf(slice.parent, x, parts) : x;
      const before = grads.get(source);
      if (slice) grads.set(source, accumulate(before ?? slice.slab, inputGrad));
      else {
        // What this rule has made for one input alone may be added by its own kernel.
        const own = madeSince(count, inputGrad) && found.indexOf(inputGrad) === found.lastIndexOf(inputGrad);
        const sum = own ? addTo : add;
        grads.set(source, before ? sum(before, inputGrad) : inputGrad);
      }
    });
  }
  return targets.map((target) => {
    const grad = grads.get(target) ?? null;
    const used = parts.get(target);
    return used ? assembled(grad ?? into.get(target)!, used, grads) : grad;
  });
}

/** What depends on a target: where gradients have to go. */
function upTo(targets: readonly Tensor[], nodes: readonly Tensor[]): ReadonlySet<Tensor> {
  const needed = new Set(targets);
  for (const node of nodes) if (node.inputs.some((x) => needed.has(x))) needed.add(node);
  return needed;
}

/** A node's rule, checked; that of a view is known. */
function inputGradients(node: Tensor, grad: Tensor): readonly (Tensor | null)[] {
  if (!node.vjp) {
    if (isView(node)) return [viewGradient(node, grad)];
    throw new Error(
      `a gradient reaches ${node.name} [${node.shape}], which has no rule; detach() says that it is to stop`,
    );
  }
  const found = node.vjp(grad, node);
  if (found.length !== node.inputs.length)
    throw new Error(`the rule of ${node.name} gives ${found.length} gradients for ${node.inputs.length} inputs`);
  found.forEach((inputGrad, i) => {
    const { name, shape } = node.inputs[i]!;
    if (inputGrad && sizeOf(inputGrad.shape) !== sizeOf(shape))
      throw new Error(`the rule of ${node.name} gives [${inputGrad.shape}] as the gradient of ${name} [${shape}]`);
  });
  return found;
}

/** Part of its first input, under another shape, without a rule of its own. */
function isView(node: Tensor): boolean {
  return node.offset !== undefined && node.inputs.length === 1 && !node.dispatch && !node.vjp;
}

/** The gradient of what is viewed: the view's, and zeros around it. */
function viewGradient({ inputs, offset }: Tensor, grad: Tensor): Tensor {
  const { shape } = inputs[0]!;
  if (sizeOf(grad.shape) === sizeOf(shape)) return view(grad, shape);
  const whole = zeros(shape);
  const written = accumulate(view(whole, grad.shape, { offset: offset! }), grad);
  return tensor({
    name: "widened",
    shape,
    inputs: [whole, written],
    reference: (_, value) => {
      const y = new Float64Array(sizeOf(shape));
      y.set(value!, offset!);
      return y;
    },
  });
}

/**
 * The targets of `into` that nothing reads but by views of parts that do not overlap, such as a table by runs of its rows: each part's
 * gradient can be added onto its part of the slab.
 */
function readByParts(into: ReadonlyMap<Tensor, Tensor>, nodes: readonly Tensor[]): ReadonlySet<Tensor> {
  const views = new Map<Tensor, Tensor[]>();
  const whole = new Set<Tensor>();
  for (const node of nodes) {
    for (const x of node.inputs) {
      if (!into.has(x)) continue;
      if (isView(node)) views.set(x, [...(views.get(x) ?? []), node]);
      else whole.add(x);
    }
  }
  const apart = (list: readonly Tensor[]) =>
    list.every((a) => list.every((b) => (a.offset === b.offset ? sameShape(a.shape, b.shape) : apartFrom(a, b))));
  return new Set([...views].filter(([x, list]) => !whole.has(x) && apart(list)).map(([x]) => x));
}

function apartFrom(a: Tensor, b: Tensor): boolean {
  const [first, second] = a.offset! < b.offset! ? [a, b] : [b, a];
  return first.offset! + sizeOf(first.shape) <= second.offset!;
}

/** Where in the slab the gradient of a tensor belongs: its own slice, or the part of its parent's. */
function sliceOf(source: Tensor, into: ReadonlyMap<Tensor, Tensor>, partly: ReadonlySet<Tensor>) {
  const own = into.get(source);
  if (own) return { slab: own, parent: source, part: false };
  const parent = source.inputs[0];
  if (!parent || !isView(source) || !partly.has(parent)) return undefined;
  return { slab: view(into.get(parent)!, source.shape, { offset: source.offset! }), parent, part: true };
}

/** The first view of this part that was met: two views of the same rows have one gradient. */
function partOf(parent: Tensor, source: Tensor, parts: Map<Tensor, Tensor[]>): Tensor {
  const known = parts.get(parent) ?? [];
  const same = known.find(({ offset }) => offset === source.offset);
  if (!same) parts.set(parent, [...known, source]);
  return same ?? source;
}

/** The whole slice of the slab, once its parts were added onto. */
function assembled(slab: Tensor, parts: readonly Tensor[], grads: ReadonlyMap<Tensor, Tensor>): Tensor {
  return tensor({
    name: "assembled",
    shape: slab.shape,
    inputs: [slab, ...parts.map((part) => grads.get(part)!)],
    reference: (slab, ...values) => {
      const y = slab.slice();
      values.forEach((value, i) => {
        y.set(value, parts[i]!.offset);
      });
      return y;
    },
  });
}
