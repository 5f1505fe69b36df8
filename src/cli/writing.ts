/** Flags that all stages have which learn from what their policy writes. */
import { learning } from "./stage-command";

const { accumulate: _, ...others } = learning;

export const writing = {
  ...others,
  reward: "rewards",
  weight: "weights",
  timeout: "timeout",
  prompts: "rollout.prompts",
  samples: "rollout.samples",
  answer: "rollout.tokens",
  temperature: "rollout.temperature",
  together: "rollout.together",
  minibatches: "minibatches",
} as const;
