import { defineCommand } from "citty";
import { fetchWithProgress } from "../app/locate";
import { openConsole } from "../log/console";

/** `dawngrad fetch gpt2`: a model from the Hugging Face Hub into its cache. */
export default defineCommand({
  meta: {
    name: "fetch",
    description: "fetches a GPT-2 from the Hugging Face Hub; broken off, it goes on where it was",
  },
  args: {
    model: {
      type: "positional",
      required: true,
      description: "gpt2, gpt2-medium, gpt2-large, gpt2-xl, distilgpt2, or owner/name",
    },
  },
  async run({ args }) {
    process.stdout.write(`${await fetchWithProgress(args.model, openConsole())}\n`);
  },
});
