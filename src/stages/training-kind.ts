/** Makes a kind of stage of a training stage: opens the model, builds the stage, sees whether it fits, trains. */
import type { z } from "zod";
import { templateFile } from "../data/template-for";
import { UserError } from "../errors";
import { scalarOf } from "../formats/checkpoint";
import { duration, memory, short } from "../log/console";
import { HEAD, type ModelConfig } from "../model/architecture";
import { adapterOf, targeted } from "../model/lora";
import { type Model, modelOf, withAdapters } from "../model/model";
import { learningRate } from "../optim/schedule";
import { fit, type Outcome } from "../train/fit";
import { told } from "../train/progress";
import { heldIn, type LoraConfig, type Training } from "../train/settings";
import type { Built, Context } from "./context";
import { expectFits } from "./fits";
import type { Change, Kind, Outline, Planned, RunContext, Source } from "./kind";
import { memoryOf } from "./memory";
import { NO_VALIDATION } from "./model-settings";
import { checkLora } from "./trained";

/** What every training stage's config has. */
export interface TrainingConfig {
  readonly name: string;
  readonly kind: string;
  readonly from?: string | undefined;
  readonly data: string | readonly string[];
  readonly validation: number | string;
  /** Of stages that render records. */
  readonly template?: string;
  readonly batch: { readonly rows: number; readonly tokens?: number | undefined; readonly accumulate?: number };
  readonly optim: { readonly steps?: number | undefined };
  readonly epochs?: number;
  readonly recompute: boolean;
  readonly activations: "f32" | "bf16";
  readonly lora?: LoraConfig | undefined;
}

/** Rows of a micro-batch, and tokens of a row. */
export interface Row {
  readonly rows: number;
  readonly tokens: number;
}

export interface TrainingStage<C extends TrainingConfig> {
  readonly schema: z.ZodObject;
  readonly version: number;
  settings(config: C): Training;
  /** Models that it reads beside the one that it goes on from: `build` opens them by these keys. */
  reads?(config: C): Readonly<Record<string, string | undefined>>;
  /** What is trained is a reward model, with a scalar head; else it is a policy, and none may be given. */
  readonly scored?: boolean;
  /** The sizes of what is trained, where they are not those of `from`. */
  shape?(config: C, from: ModelConfig): ModelConfig;
  /** What is trained, made of what `from` is; the caller disposes of both. */
  student?(config: C, from: Source, context: RunContext): Source;
  /** Rows of a micro-batch, where that is not `batch.rows`. */
  rowsOf?(config: C): number;
  /** Files that its result depends on beside its data. */
  files?(config: C): readonly string[];
  /** What it refuses beforehand beside what all do. */
  check?(config: C, planned: Planned): void;
  /** What is read of its data with each step, for people; of micro-batches if absent. */
  line?(config: C, row: Row): string;
  build(config: C, context: Context): Promise<Built>;
}

export function trainingKind<C extends TrainingConfig>({
  schema,
  version,
  settings,
  reads = () => ({}),
  scored = false,
  shape = (_, from) => from,
  student = (_, from) => from,
  rowsOf = ({ batch }) => batch.rows,
  files = () => [],
  check = () => {},
  line = lineOf,
  build,
}: TrainingStage<C>): Kind<C> {
  return {
    schema,
    version,
    scored,
    reads: (config) => ({ from: config.from, ...reads(config) }),
    data: (config) => [...dataOf(config), ...files(config)],
    check(config, planned) {
      if (scored) expectNoHead(config, planned);
      else expectPolicies(config.name, planned);
      check(config, planned);
      const adaptable = "lora" in schema.shape;
      checkTraining(config, settings(config), shape(config, planned.models.get("from")!), { ...planned, adaptable });
    },
    outline: (config, model) =>
      outline(config, settings(config), shape(config, model), {
        rows: rowsOf(config),
        scored,
        line: (row) => line(config, row),
      }),
    result: shape,
    otherPast: (config, changed, step) => otherPast(settings(config).optim, config.optim.steps, changed, step),
    async run(config, context) {
      const storage = config.lora && (heldIn(config.lora) ?? "auto");
      using source = await context.open("from", { storage, scored: scored && !config.lora });
      if (!scored && source.model.scored) throw rewardModel(config.name, "what it goes on from");
      const trained = student(config, source, context);
      using _own = trained === source ? null : trained;
      using stage = await build(config, { ...context, ...trained });
      const { name, recompute, activations, validation } = config;
      const given = settings(config);
      expectWarmup(name, given.optim.warmup, stage.steps);
      if (stage.steps < FEW && config.optim.steps === undefined && "epochs" in config)
        context.console.note(
          `${name}: only ${stage.steps} ${stage.steps === 1 ? "step" : "steps"} in all: with so few examples raise epochs, or lower batch.rows`,
        );
      // Nothing to evaluate, and so nothing is ever due.
      const wanted = validation === NO_VALIDATION ? { ...given, evaluate: { ...given.evaluate, every: 0 } } : given;
      const shape = { rows: rowsOf(config), tokens: stage.length, recompute, activations, optimizer: given.optim.kind };
      const needed = expectFits(context.device, stage, { name, model: stage.model, batch: shape });
      context.console.note(`${name}: ${trainedLine(stage.model, config.lora)}`);
      context.console.note(`${name}: training takes ${memory(needed)} of device memory`);
      const outcome = await fit(stage, { ...context, name, settings: wanted });
      for (const line of outcomeLines(name, outcome, context)) context.console.note(line);
      return outcome.reason === "interrupted" ? "interrupted" : "finished";
    },
  };
}

/** The files that its result depends on: its data, what is held out, and where its chat template is from. */
function dataOf({ data, validation, template }: TrainingConfig): readonly string[] {
  const held = typeof validation === "string" && validation !== NO_VALIDATION ? [validation] : [];
  const file = template === undefined ? null : templateFile(template);
  return [...[data].flat(), ...held, ...(file === null ? [] : [file])];
}

/** A policy writes, and so does a reference; a reward model only scores what is written. */
function expectPolicies(name: string, { models }: Planned): void {
  for (const [key, { scalar }] of models) {
    if (scalar && (key === "from" || key === "reference")) throw rewardModel(name, key);
  }
}

/** A reward model has no use for the language head. */
function expectNoHead({ name, lora }: TrainingConfig, { models }: Planned): void {
  const { modules } = modelOf(models.get("from")!);
  if (!lora || !targeted(modules, lora.targets).some((module) => module.name === HEAD)) return;
  throw new UserError("lora.targets names the language head, which a reward model does not use", {
    hint: `stage ${name}: leave head out of lora.targets; the scalar head is trained as it is`,
    exitCode: 2,
  });
}

function rewardModel(name: string, what: string): UserError {
  return new UserError(`stage ${name}: ${what} is a reward model, and a model that writes is wanted`, {
    hint: "give the model that the reward model was made from, or any other without a scalar head",
    exitCode: 2,
  });
}

/** What `run` and `run --plan` refuse alike. */
function checkTraining(
  { name, batch, optim: { steps }, lora, validation }: TrainingConfig,
  { optim, evaluate }: Training,
  sizes: ModelConfig,
  { fresh, adaptable }: Planned & { readonly adaptable: boolean },
): void {
  const refuse = (message: string, hint: string): never => {
    throw new UserError(message, { hint: `stage ${name}: ${hint}`, exitCode: 2 });
  };
  if (batch.tokens !== undefined && batch.tokens > sizes.context)
    refuse(
      `batch.tokens is ${batch.tokens}, and the model's context is ${sizes.context}`,
      "use fewer tokens a row or a model with a longer context",
    );
  const { quantised } = sizes;
  if (quantised && !lora)
    refuse(
      `the model is quantised in ${quantised}, and only numbers in f32 can be trained`,
      `${adaptable ? "train an adapter (lora = {}), or " : ""}take the model that it was made of`,
    );
  if (quantised && lora && (heldIn(lora) ?? quantised) !== quantised)
    refuse(`the model is quantised in ${quantised}, and lora.base is ${lora.base}`, "leave lora.base out");
  if (steps !== undefined) expectWarmup(name, optim.warmup, steps);
  if (optim.kind === "muon" && lora)
    refuse("optim.kind is muon, and an adapter has no linear layer's matrix", "use adamw or lion with lora");
  if (optim.kind !== "adamw" && optim.tensorflowEpsilon)
    refuse(`optim.tensorflowEpsilon is AdamW's, and optim.kind is ${optim.kind}`, "leave it out");
  if (optim.tensorflowEpsilon && optim.weightDecay > 0)
    refuse(
      "optim.tensorflowEpsilon does not go with optim.weightDecay",
      "set weightDecay = 0, or leave one of them out",
    );
  if (validation === NO_VALIDATION && evaluate.patience > 0)
    refuse('evaluate.patience counts for nothing with validation = "none"', "leave one of them out");
  checkLora(lora, { model: modelOf(sizes), base: fresh ? null : "" });
}

/** Steps below which hardly anything is learned. */
const FEW = 20;

function expectWarmup(name: string, warmup: number, steps: number): void {
  if (warmup <= steps) return;
  throw new UserError(`${name}: optim.warmup is ${warmup}, and the stage has ${steps} steps`, {
    hint: "the rate would never reach its peak: use a shorter warm-up, a share of the steps such as 0.05, or more steps",
    exitCode: 2,
  });
}

/** What is trained, and what is not. */
function trainedLine({ adapters, parameters }: Model, lora: LoraConfig | undefined): string {
  const adapter = adapters.at(-1);
  if (!lora || !adapter) return `the whole model is trained: ${short(parameters.count)} parameters in f32`;
  const { rank, targets, dora, rslora } = lora;
  const kind = `${dora ? "DoRA adapter" : "adapter"} of rank ${rank}${rslora ? " (rsLoRA)" : ""}`;
  const { size } = adapter.ranks;
  const layers = `${size} linear layer${size === 1 ? "" : "s"} (${targets.join(", ")})`;
  return `${dora ? "a" : "an"} ${kind} for ${layers} is trained: ${short(adapter.parameters.count)} parameters; the base, of ${short(parameters.count)}, is frozen and held in ${parameters.storage}`;
}

const STEPS = "setting optim.steps";
const EPOCHS = "setting epochs";

/** Whether a stage may train longer: only where its learning rates up to now would have been the same. */
function otherPast(
  optim: Training["optim"],
  steps: number | undefined,
  changed: ReadonlyMap<string, Change>,
  step: number,
): string | null | undefined {
  if ([...changed.keys()].some((key) => key !== STEPS && key !== EPOCHS)) return undefined;
  const { was, is } = changed.get(STEPS) ?? {};
  const epochs = changed.get(EPOCHS);
  if (steps !== undefined && steps < step) return `it has trained ${step} steps`;
  if (steps === undefined && Number(epochs?.is ?? 0) < Number(epochs?.was ?? 0))
    return "it may have trained for longer";
  const kind = optim.schedule;
  // A warm-up that is a share of the steps is another with more of them.
  if (kind === "constant" && (optim.warmup === 0 || optim.warmup >= 1)) return null;
  const rate = (steps: number, step: number) => learningRate({ ...optim, kind, steps }, step);
  if (was !== undefined && is !== undefined) {
    const same = Array.from({ length: step }, (_, i) => rate(Number(was), i) === rate(Number(is), i));
    if (same.every(Boolean)) return null;
  }
  return `by its schedule, ${kind}, the learning rates so far would have been others`;
}

function outcomeLines(name: string, { reason, progress }: Outcome, { directory }: RunContext): string[] {
  const best = progress.best ? `, best ${told(progress.best.values)} at step ${progress.best.step}` : "";
  const resident = memory(1024 * process.resourceUsage().maxRSS);
  return [
    `${name}: ${reason} after step ${progress.step}, ${duration(progress.seconds)}${best}; at most ${resident} of main memory`,
    ...(reason === "interrupted" ? [`saved in ${directory}; run the same command again to go on`] : []),
  ];
}

function outline(
  config: TrainingConfig,
  { optim, evaluate, save }: Training,
  given: ModelConfig,
  { rows, scored, line }: { readonly rows: number; readonly scored: boolean; line(row: Row): string },
): Outline {
  const sizes = scored && !config.lora ? scalarOf(given) : given;
  const { tokens = Math.min(1024, sizes.context) } = config.batch;
  const { recompute, activations, lora } = config;
  const plain = modelOf(sizes, lora && heldIn(lora));
  const score = scored ? sizes.width : undefined;
  const model = lora ? withAdapters(plain, [adapterOf(targeted(plain.modules, lora.targets), lora, { score })]) : plain;
  const batch = { rows, tokens, recompute, activations, optimizer: optim.kind };
  const { trainingBytes } = memoryOf(model, batch);
  return {
    trained: { model, batch },
    lines: [
      line({ rows, tokens }),
      trainedLine(model, lora),
      `${ruleNames[optim.kind]}, ${optim.schedule} schedule, peak ${optim.lr}, ${warmupLine(optim)} of warm-up, clip ${optim.clip}`,
      `${config.validation === NO_VALIDATION ? "no evaluation" : `evaluation every ${evaluate.every} steps`}, a checkpoint every ${save.every}, ${save.keep} kept`,
      `device memory: ${memory(trainingBytes)}`,
    ],
  };
}

function warmupLine({ warmup }: Training["optim"]): string {
  return warmup > 0 && warmup < 1 ? `${+(100 * warmup).toFixed(2)}% of the steps` : `${warmup} steps`;
}

const ruleNames = { adamw: "AdamW", lion: "Lion", muon: "Muon" } as const;

/** How many tokens a step reads, and of what. */
function lineOf({ batch, optim: { steps }, epochs, data }: TrainingConfig, { rows, tokens }: Row): string {
  const { accumulate = 1 } = batch;
  const each = rows * tokens * accumulate;
  const many = steps === undefined ? `${epochs} epochs in steps` : `${steps} steps`;
  return `${many} of ${rows} x ${tokens} x ${accumulate} = ${each} tokens${steps ? `, ${short(steps * each)} in all` : " at most"}, on ${[data].flat().join(", ")}`;
}
