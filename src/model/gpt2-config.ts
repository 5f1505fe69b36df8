/** GPT-2's config.json, as transformers writes and reads it. */
import { z } from "zod";
import { shown, UserError } from "../errors";
import {
  checkHeads,
  LEAST_EPSILON,
  MOST_LAYERS,
  MOST_WIDTH,
  type ModelConfig,
  type SpecialTokens,
} from "./architecture";

/** How transformers calls a GPT-2 with a scalar head. */
const CLASSIFIER = "GPT2ForSequenceClassification";

const size = z
  .int()
  .min(1)
  .max(1 << 24);
const share = z.number().min(0).max(1).nullish();
const token = z.int().min(0).nullish();

/** What the model follows from, and what would be wrong with numbers that only other programs read. Others may stand beside it. */
const schema = z.object({
  vocab_size: size,
  n_positions: size.optional(),
  n_ctx: size.optional(),
  n_layer: size.max(MOST_LAYERS),
  n_head: size,
  n_embd: size.max(MOST_WIDTH),
  n_inner: z.int().nullish(),
  layer_norm_epsilon: z.number().min(LEAST_EPSILON).max(1).default(1e-5),
  activation_function: z.enum(["gelu_new", "gelu_pytorch_tanh"]).optional(),
  scale_attn_weights: z.literal(true).optional(),
  scale_attn_by_inverse_layer_idx: z.literal(false).optional(),
  tie_word_embeddings: z.boolean().default(true),
  architectures: z.array(z.string()).nullish(),
  num_labels: z.int().min(0).nullish(),
  id2label: z.looseObject({}).nullish(),
  attn_pdrop: share,
  embd_pdrop: share,
  resid_pdrop: share,
  summary_first_dropout: share,
  initializer_range: z.number().min(0).nullish(),
  bos_token_id: token,
  eos_token_id: z.union([token, z.array(z.int().min(0))]),
  pad_token_id: token,
});

/** The choices of these are said with what was found. */
const supported = {
  activation_function: '"gelu_new", "gelu_pytorch_tanh"',
  scale_attn_weights: "true",
  scale_attn_by_inverse_layer_idx: "false",
  tie_word_embeddings: "true, false",
};

export function fromJson(json: Readonly<Record<string, unknown>>, path: string): ModelConfig {
  const { data, error } = schema.safeParse(json);
  if (!data) throw refused(json, error!.issues[0]!, path);
  const { n_embd: width, n_inner: inner, architectures, id2label, n_ctx, n_positions = n_ctx } = data;
  if (n_positions === undefined) throw new UserError(`${path}: n_positions is missing`);
  if (inner != null && inner !== 4 * width)
    throw new UserError(`${path}: n_inner is ${inner}, supported: null, ${4 * width}`);
  const scalar = architectures?.includes(CLASSIFIER) ?? false;
  const labels = data.num_labels ?? (id2label ? Object.keys(id2label).length : 2);
  if (scalar && labels !== 1)
    throw new UserError(`${path}: the classifier has ${labels} labels, and a scalar head has one`);
  const config = {
    type: "gpt2",
    vocabulary: data.vocab_size,
    context: n_positions,
    layers: data.n_layer,
    heads: data.n_head,
    width,
    epsilon: data.layer_norm_epsilon,
    ...(!data.tie_word_embeddings && !scalar && { tied: false }),
    ...(scalar && { scalar }),
  };
  checkHeads(config, path);
  return config;
}

function refused(json: Readonly<Record<string, unknown>>, issue: z.core.$ZodIssue, path: string): UserError {
  const key = String(issue.path[0]);
  const found = `${path}: ${key} is ${Object.hasOwn(json, key) ? shown(json[key]) : "missing"}`;
  if (key in supported) return new UserError(`${found}, supported: ${supported[key as keyof typeof supported]}`);
  const most = { n_layer: `${MOST_LAYERS} layers`, n_embd: `${MOST_WIDTH} channels` }[key];
  const hint = most ? `a model may have ${most}` : "the file is damaged, or of another kind of model";
  return new UserError(`${found}: ${issue.message}`, { hint });
}

export function toJson(config: ModelConfig, { endOfText, padding }: SpecialTokens): Record<string, unknown> {
  return {
    activation_function: "gelu_new",
    architectures: [config.scalar ? CLASSIFIER : "GPT2LMHeadModel"],
    attn_pdrop: 0,
    bos_token_id: endOfText,
    embd_pdrop: 0,
    eos_token_id: endOfText,
    initializer_range: 0.02,
    layer_norm_epsilon: config.epsilon,
    model_type: "gpt2",
    n_ctx: config.context,
    n_embd: config.width,
    n_head: config.heads,
    n_inner: null,
    n_layer: config.layers,
    n_positions: config.context,
    resid_pdrop: 0,
    scale_attn_weights: true,
    tie_word_embeddings: config.tied !== false,
    torch_dtype: "float32",
    vocab_size: config.vocabulary,
    ...(config.scalar && { id2label: { 0: "LABEL_0" }, label2id: { LABEL_0: 0 }, pad_token_id: padding }),
  };
}
