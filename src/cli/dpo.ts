/** `dawngrad dpo --model RUN --data FILE`: a config of one stage from the command line. */
import { lossNames, mixtureNames, schema } from "../stages/dpo";
import { learning, stageCommand } from "./stage-command";

export default stageCommand({
  kind: "dpo",
  description: "aligns a model by pairs of answers: DPO and the losses that came after it",
  schema,
  flags: {
    ...learning,
    format: { path: "format", open: true },
    ranked: "ranked",
    loss: {
      path: "loss",
      says: `${lossNames.join(", ")}; or a mixture: ${mixtureNames.join(", ")}; sigmoid if absent`,
    },
    beta: "beta",
    reference: "reference",
    smoothing: "labelSmoothing",
    divergence: "divergence",
    "divergence-alpha": "alpha",
    tau: "tau",
    "ld-alpha": "ldAlpha",
    wpo: "wpo",
  },
  example: "sync.every=100",
});
