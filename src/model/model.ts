/** A model: an architecture's forward pass over weights in slabs, with adapters, the language head and the scalar head. */
import type { Device } from "../device/device";
import { dropout } from "../ops/dropout";
import { matmul } from "../ops/matmul";
import { keepWhole } from "../ops/store";
import { sizeOf } from "../tensor/shape";
import { isQuantised } from "../tensor/stored";
import { type Tensor, view } from "../tensor/tensor";
import {
  HEAD,
  type HiddenOptions,
  type Layers,
  type LinearOptions,
  type ModelConfig,
  type Module,
  SCORE,
  scoreSpec,
} from "./architecture";
import { architectureOf } from "./architectures";
import { type HeadLoss, type RowLoss, rowLoss } from "./head";
import { type LogProbOptions, type LogProbs, logProbs } from "./log-probs";
import { type Adapter, adaptedLinear, narrowedInput } from "./lora";
import { layOut, type ParameterSpec, type Parameters, parameter, type Storage, type TableStorage } from "./parameters";
import { anyRoom, type Room, roomOf } from "./room";
import { addProduct, embed, project, tableParts } from "./table";

export interface Model {
  readonly config: ModelConfig;
  readonly parameters: Parameters;
  /** Every layer that can be adapted, the head last. */
  readonly modules: readonly Module[];
  /** What is added to its linear layers. */
  readonly adapters: readonly Adapter[];
  /** Sequences of one length -> the last layer's normalised rows [B T, C]. */
  hidden(tokens: Tensor, positions: Tensor, options: HiddenOptions): Tensor;
  /** Rows [N, C] -> logits [N, V]. */
  logits(hidden: Tensor): Tensor;
  /** A loss of rows [N, C], summed by weights [N] or [1]; the logits by chunks. */
  loss(hidden: Tensor, loss: RowLoss, weights: Tensor, options?: HeadOptions): HeadLoss;
  /** The log-probabilities of targets [N] after rows [N, C], with gradients; the logits by chunks. */
  logProbs(hidden: Tensor, targets: Tensor, options?: HeadOptions & LogProbOptions): LogProbs;
  /** Whether it has a scalar head, its own or an adapter's: it is a reward model. */
  readonly scored: boolean;
  /** How large its tables and logits are in one piece. */
  readonly room: Room;
  /** Rows [N, C] -> the scalar head's [N]. Throws where the model has none. */
  scores(hidden: Tensor): Tensor;
}

export interface HeadOptions {
  /** What an adapter on the head does not see. */
  readonly dropout?: HiddenOptions["dropout"];
}

/** `storage`: all but f32 are to be read and not to be trained; a quantised model is as its files have it. `tables`: see TableStorage. */
export function modelOf(
  config: ModelConfig,
  storage: Storage = config.quantised ?? "f32",
  tables: TableStorage = config.quantised ? "int8" : "f32",
): Model {
  const architecture = architectureOf(config.type, "model");
  const roles = new Map<string, ParameterSpec["role"]>([
    ...architecture.modules(config).map(({ name }) => [`${name}.weight`, "linear"] as const),
    [architecture.embedding, "table"],
    [`${HEAD}.weight`, "table"],
  ]);
  const specs = [...architecture.specs(config), ...headSpecs(config)];
  return over(
    config,
    layOut(
      specs.map((spec) => ({ ...spec, role: roles.get(spec.name) })),
      storage,
      tables,
    ),
    [],
    anyRoom,
  );
}

/** The same model over the same weights, with these adapters and no others. Without any it computes what `modelOf` does. */
export function withAdapters({ config, parameters, room }: Model, adapters: readonly Adapter[]): Model {
  return over(config, parameters, adapters, room);
}

/** The same model, its tables and logits in pieces as large as this device takes. */
export function fitted({ config, parameters, adapters }: Model, { traits }: Pick<Device, "traits">): Model {
  return over(config, parameters, adapters, roomOf(traits));
}

/** The same model, which tells the inputs of its linear layers but the head as its graph is built: [N, in]. */
export function observed({ config, parameters, adapters, room }: Model, observe: Observe): Model {
  return over(config, parameters, adapters, room, observe);
}

type Observe = (layer: string, x: Tensor) => void;

/** Of a head's own table, N(0, 0.02), and of the scalar head. */
function headSpecs({ vocabulary, width, tied, scalar }: ModelConfig): ParameterSpec[] {
  const matrix = (name: string, rows: number) => ({ name, shape: [rows, width], init: { std: 0.02 }, decay: true });
  return [
    ...(tied === false && !scalar ? [matrix(`${HEAD}.weight`, vocabulary)] : []),
    ...(scalar ? [scoreSpec(width)] : []),
  ];
}

function over(
  config: ModelConfig,
  parameters: Parameters,
  adapters: readonly Adapter[],
  room: Room,
  observe: Observe = () => {},
): Model {
  const architecture = architectureOf(config.type, "model");
  const weight = (name: string): Tensor => parameter(parameters, name).tensor;
  const embedding = tableParts(weight(architecture.embedding), room.tableBytes);
  const head =
    config.tied === false && !config.scalar ? tableParts(weight(`${HEAD}.weight`), room.tableBytes) : embedding;
  const layers: Layers = {
    weight,
    embed: (tokens) => embed(embedding, tokens),
    linear(x, name, options) {
      observe(name, x);
      return linear(x, name, { weight, adapters, ...options });
    },
  };
  /** What adds to the logits: the head's own table, and the adapters'. */
  const terms = (x: Tensor, options: LinearOptions = { keep: keepWhole }) => [
    { x, parts: head },
    ...adapters.flatMap((adapter) => {
      const narrow = narrowedInput(adapter, HEAD, x, options);
      if (!narrow) return [];
      return [
        {
          x: narrow,
          parts: tableParts(parameter(adapter.parameters, `${HEAD}.lora_B.weight`).tensor, room.tableBytes),
        },
      ];
    }),
  ];
  const scorer = adapters.findLast(({ scored }) => scored)?.parameters ?? (config.scalar ? parameters : null);
  const inTraining = (x: Tensor, dropout: HiddenOptions["dropout"]) =>
    terms(x, { keep: keepWhole, drop: dropout && headDrop(dropout) });
  return {
    config,
    parameters,
    modules: [...architecture.modules(config), { name: HEAD, inputs: config.width, outputs: config.vocabulary }],
    adapters,
    room,
    hidden: (tokens, positions, options) => architecture.hidden(config, layers, tokens, positions, options),
    logits(rows) {
      const [own, ...more] = terms(rows);
      return more.reduce((y, { x, parts }) => addProduct(y, x, parts), project(own!.x, own!.parts));
    },
    loss: (rows, loss, weights, { dropout } = {}) => rowLoss(inTraining(rows, dropout), loss, weights, { room }),
    logProbs: (rows, targets, { dropout, ...options } = {}) =>
      logProbs(inTraining(rows, dropout), targets, { room, ...options }),
    scored: scorer !== null,
    scores(rows) {
      if (!scorer) throw new Error("this model has no scalar head");
      const y = matmul(rows, parameter(scorer, SCORE).tensor, { transposeB: true });
      return view(y, [sizeOf(y.shape)]);
    },
  };
}

interface Linear extends LinearOptions {
  readonly weight: (name: string) => Tensor;
  readonly adapters: readonly Adapter[];
}

function linear(x: Tensor, name: string, { weight, adapters, keep, drop }: Linear): Tensor {
  const layer = { weight: weight(`${name}.weight`), bias: weight(`${name}.bias`) };
  const product = (x: Tensor, bias?: Tensor) =>
    matmul(x, layer.weight, { transposeB: isQuantised(layer.weight.dtype), keep, ...(bias && { bias }) });
  return adaptedLinear(x, name, layer, adapters, { product, keep, drop });
}

/** A stream of its own, apart from those inside the model. */
const headDrop =
  ({ seed }: NonNullable<HiddenOptions["dropout"]>) =>
  (x: Tensor, rate: number) =>
    dropout(x, seed, { rate, stream: 1 << 16 });
