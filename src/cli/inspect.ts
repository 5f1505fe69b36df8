/** `dawngrad inspect`: a model's or a config's parameters and memory. */
import { existsSync } from "node:fs";
import { defineCommand } from "citty";
import { readConfigFile } from "../app/config-file";
import { graphOf } from "../app/graph";
import { locateParts } from "../app/locate";
import { plannedModel } from "../app/planned";
import { UserError } from "../errors";
import { checkModel } from "../formats/checkpoint";
import { openAdapter } from "../formats/peft";
import { memory, openConsole } from "../log/console";
import { presets } from "../model/architectures";
import type { Adapter } from "../model/lora";
import { type Model, modelOf, withAdapters } from "../model/model";
import { kindOf } from "../stages";
import { type Memory, memoryOf } from "../stages/memory";
import { whole } from "./options";
import { print } from "./print";

export default defineCommand({
  meta: { name: "inspect", description: "parameters by tensor, and memory for inference and training" },
  args: {
    target: {
      type: "positional",
      required: true,
      description: "a run, a checkpoint, a model directory, a config file, or a preset",
    },
    rows: { type: "string", description: "sequences of a training batch (default: the config's, or 1)" },
    tokens: { type: "string", description: "tokens of a sequence (default: the config's, or the context)" },
    vocabulary: { type: "string", description: "tokens of the vocabulary, for a preset (default: 50257)" },
    json: { type: "boolean", description: "prints one JSON object" },
  },
  async run({ args }) {
    const vocabulary = args.vocabulary === undefined ? null : whole("vocabulary", args.vocabulary, { most: 1 << 24 });
    const { model, rows, tokens, recompute } = await find(args.target, vocabulary);
    const shape = {
      rows: args.rows === undefined ? rows : whole("rows", args.rows, { most: 65536 }),
      tokens: args.tokens === undefined ? tokens : whole("tokens", args.tokens),
      recompute,
    };
    if (shape.tokens > model.config.context) {
      throw new UserError(
        `a batch of ${shape.rows} x ${shape.tokens} does not fit a context of ${model.config.context}`,
        { exitCode: 2 },
      );
    }
    const needed = memoryOf(model, shape);
    if (args.json) print(`${JSON.stringify(asJson(model, needed, shape))}\n`);
    else print(asText(model, needed, shape));
  },
});

interface Shape {
  readonly rows: number;
  readonly tokens: number;
  readonly recompute: boolean;
}

async function find(target: string, vocabulary: number | null): Promise<{ model: Model } & Shape> {
  const preset = Object.hasOwn(presets, target) ? presets[target] : undefined;
  if (preset && !existsSync(target)) {
    const model = modelOf({ ...preset, vocabulary: vocabulary ?? 50257, epsilon: 1e-5 });
    return { model, rows: 1, tokens: preset.context, recompute: false };
  }
  if (vocabulary !== null)
    throw new UserError(`${target} has a vocabulary of its own, and --vocabulary is for a preset`, {
      hint: `leave out --vocabulary; the presets are ${Object.keys(presets).join(", ")}`,
      exitCode: 2,
    });
  if (target.endsWith(".toml")) {
    const config = await readConfigFile(target);
    const node = graphOf(config)[0]!;
    const { trained } = kindOf(node.stage).outline(node.stage, await plannedModel(node, config, openConsole()));
    if (!trained) throw new UserError(`${target}: its first stage trains nothing`, { exitCode: 2 });
    return { model: trained.model, ...trained.batch };
  }
  const { base, adapters } = await locateParts(target, openConsole());
  const plain = await checkModel(base);
  const model = withAdapters(
    plain,
    adapters.map((path) => adapterAt(path, plain)),
  );
  return { model, rows: 1, tokens: model.config.context, recompute: false };
}

function adapterAt(path: string, model: Model): Adapter {
  using files = openAdapter(path, model);
  return files.adapter;
}

function asJson({ config, parameters }: Model, needed: Memory, batch: Shape) {
  return {
    config,
    parameters: parameters.count,
    tensors: parameters.list.map(({ name, shape, size }) => ({ name, shape, size })),
    memory: needed,
    batch,
  };
}

function asText({ config, parameters, adapters }: Model, needed: Memory, { rows, tokens }: Shape): string {
  const all = [parameters, ...adapters.map(({ parameters }) => parameters)].flatMap(({ list }) => list);
  const widest = Math.max(...all.map(({ name }) => name.length));
  const lines = all.map(({ name, shape, size, decay }) => {
    return `${name.padEnd(widest)}  ${`[${shape.join(", ")}]`.padStart(16)}  ${size.toLocaleString("en").padStart(14)}${decay ? "  decay" : ""}`;
  });
  const { layers, heads, width, context, vocabulary } = config;
  return [
    ...lines,
    "",
    `${parameters.count.toLocaleString("en")} parameters: ${layers} layers, ${heads} heads, width ${width}, context ${context}, vocabulary ${vocabulary}`,
    ...adapters.map(
      ({ settings, ranks, parameters }) =>
        `${parameters.count.toLocaleString("en")} parameters of an adapter: rank ${settings.rank}, ${ranks.size} layers`,
    ),
    `weights            ${memory(needed.weightsBytes)}${config.quantised ? ` (linear layers in ${config.quantised}, tables in int8)` : ""}`,
    `inference          ${memory(needed.inferenceBytes)} (one sequence of ${context} tokens)`,
    ...(config.quantised && adapters.length === 0
      ? ["training           by an adapter alone"]
      : [`training           ${memory(needed.trainingBytes)} (AdamW, ${rows} x ${tokens} tokens a micro-batch)`]),
    `largest binding    ${memory(needed.largestBytes)}`,
    "",
  ].join("\n");
}
