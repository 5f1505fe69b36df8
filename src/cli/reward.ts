/** `dawngrad reward --model gpt2 --data FILE`: a config of one stage from the command line. */
import { schema } from "../stages/reward";
import { learning, stageCommand } from "./stage-command";

export default stageCommand({
  kind: "reward",
  description: "trains a reward model on pairs of answers",
  schema,
  flags: { ...learning, format: { path: "format", open: true }, ranked: "ranked", centring: "centring" },
  example: "normalise.samples=0",
  prompts: false,
});
