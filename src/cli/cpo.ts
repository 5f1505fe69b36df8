/** `dawngrad cpo --model RUN --data FILE`: a config of one stage from the command line. */
import { schema } from "../stages/cpo";
import { learning, stageCommand } from "./stage-command";

export default stageCommand({
  kind: "cpo",
  description: "aligns a model by pairs of answers, without a reference: CPO, SimPO and AlphaPO",
  schema,
  flags: {
    ...learning,
    format: { path: "format", open: true },
    ranked: "ranked",
    loss: "loss",
    beta: "beta",
    gamma: "gamma",
    nll: "nll",
    smoothing: "labelSmoothing",
    "alpha-po": "alpha",
  },
  example: "evaluate.every=50",
});
