/** `dawngrad grpo --model RUN --data FILE --reward RULE`: a config of one stage from the command line. */
import { schema } from "../stages/grpo";
import { stageCommand } from "./stage-command";
import { writing } from "./writing";

export default stageCommand({
  kind: "grpo",
  description: "learns from rewards of what the model writes, each answer beside others to the same prompt: GRPO",
  schema,
  flags: {
    ...writing,
    "dynamic-sampling": "dynamicSampling",
    loss: "loss",
    ratio: "ratio",
    scale: "scale",
    aggregation: "aggregation",
    epsilon: "epsilon",
    "epsilon-high": "epsilonHigh",
    beta: "beta",
    reference: "reference",
    "mask-truncated": "maskTruncated",
    iterations: "iterations",
  },
  example: "samples.every=10",
  prompts: false,
});
