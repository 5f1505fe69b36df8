/** `dawngrad ppo --model RUN --data FILE --reward MODEL`: a config of one stage from the command line. */
import { schema } from "../stages/ppo";
import { stageCommand } from "./stage-command";
import { writing } from "./writing";

export default stageCommand({
  kind: "ppo",
  description: "learns from rewards of what the model writes, beside a critic that expects them: PPO",
  schema,
  flags: {
    ...writing,
    passes: "passes",
    reference: "reference",
    critic: "critic",
    "critic-lr": "criticLr",
    kl: { path: "kl.coefficient", says: "what a nat of divergence from the reference costs, at first" },
    estimator: "kl.estimator",
    target: "kl.target",
    gamma: "gamma",
    lambda: "lambda",
    clip: "clip",
    "missing-end-penalty": "missingEnd.penalty",
    average: "average",
  },
  example: "samples.every=10",
  prompts: false,
});
