/** `dawngrad kto --model RUN --data FILE`: a config of one stage from the command line. */
import { schema } from "../stages/kto";
import { learning, stageCommand } from "./stage-command";

export default stageCommand({
  kind: "kto",
  description: "aligns a model by answers that are good or bad: KTO",
  schema,
  flags: {
    ...learning,
    format: { path: "format", open: true },
    ranked: "ranked",
    loss: "loss",
    beta: "beta",
    reference: "reference",
    desirable: "desirable",
    undesirable: "undesirable",
  },
  example: "precompute=false",
});
