/** `dawngrad orpo --model RUN --data FILE`: a config of one stage from the command line. */
import { schema } from "../stages/orpo";
import { learning, stageCommand } from "./stage-command";

export default stageCommand({
  kind: "orpo",
  description: "aligns a model by pairs of answers, without a reference: ORPO",
  schema,
  flags: { ...learning, format: { path: "format", open: true }, ranked: "ranked", beta: "beta", nll: "nll" },
  example: "evaluate.every=50",
});
