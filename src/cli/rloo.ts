/** `dawngrad rloo --model RUN --data FILE --reward RULE`: a config of one stage from the command line. */
import { schema } from "../stages/rloo";
import { stageCommand } from "./stage-command";
import { writing } from "./writing";

export default stageCommand({
  kind: "rloo",
  description: "learns from rewards of what the model writes, each answer beside the others' mean: RLOO",
  schema,
  flags: {
    ...writing,
    "dynamic-sampling": "dynamicSampling",
    epsilon: "epsilon",
    "epsilon-high": "epsilonHigh",
    beta: "beta",
    reference: "reference",
    normalise: "normalise",
    "mask-truncated": "maskTruncated",
    iterations: "iterations",
  },
  example: "samples.every=10",
  prompts: false,
});
