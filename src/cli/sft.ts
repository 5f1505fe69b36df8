/** `dawngrad sft --model gpt2 --data FILE`: a config of one stage from the command line. */
import { schema } from "../stages/sft";
import { learning, stageCommand } from "./stage-command";

export default stageCommand({
  kind: "sft",
  description: "fine-tunes a model on instructions, conversations or text",
  schema,
  flags: { ...learning, format: { path: "format", open: true }, packing: "packing", cut: "cut" },
  example: "lora.dora=true",
});
