/** `dawngrad export`: a model for transformers, or for llama.cpp. */
import { defineCommand } from "citty";
import { exportGguf, exportSafetensors } from "../app/export";
import { locateParts } from "../app/locate";
import { UserError } from "../errors";
import { type GgufType, ggufTypes } from "../formats/gguf";
import { openConsole } from "../log/console";

export default defineCommand({
  meta: { name: "export", description: "writes a model as safetensors (transformers) or gguf (llama.cpp)" },
  args: {
    model: { type: "string", required: true, description: "a run, a checkpoint, a model directory, or a Hub name" },
    out: { type: "string", required: true, description: "the folder (safetensors) or the file (gguf) to write" },
    format: { type: "enum", options: ["safetensors", "gguf"], default: "safetensors", description: "what to write" },
    type: {
      type: "enum",
      options: [...ggufTypes],
      default: "f16",
      needs: ["format=gguf"],
      description: "how gguf stores matrices: as they are, in 16 bits, or in blocks of 8 bits",
    },
  },
  async run({ args }) {
    const console = openConsole();
    const { base: directory, adapters } = await locateParts(args.model, console);
    if (adapters.length)
      throw new UserError(`${adapters[0]} is an adapter, which has no weights of its own`, {
        hint: "make a whole model by `dawngrad merge`, and export that",
        exitCode: 2,
      });
    if (args.format === "gguf") await exportGguf(directory, args.out, args.type as GgufType);
    else await exportSafetensors(directory, args.out);
    console.note(`written: ${args.out}`);
  },
});
