/** `dawngrad fetch gpt2`: a model from the Hugging Face Hub into its cache; `dawngrad fetch alpaca`: a data set. */
import { defineCommand } from "citty";
import { fetchDataWithProgress, fetchWithProgress } from "../app/locate";
import { dataSetOf, dataSets } from "../hub/datasets";
import { openConsole } from "../log/console";
import { print } from "./print";

export default defineCommand({
  meta: {
    name: "fetch",
    description: "fetches a GPT-2 or a data set; broken off, it goes on where it was",
  },
  args: {
    name: {
      type: "positional",
      required: true,
      description: `gpt2, gpt2-medium, gpt2-large, gpt2-xl, distilgpt2, or owner/name; or a data set: ${Object.keys(dataSets).join(", ")}`,
    },
  },
  async run({ args }) {
    const console = openConsole();
    const set = dataSetOf(args.name);
    if (!set) {
      print(`${await fetchWithProgress(args.name, console)}\n`);
      return;
    }
    console.note(`${args.name}: ${set.about}; licence: ${set.licence}`);
    for (const { path } of await fetchDataWithProgress(args.name, console)) print(`${path}\n`);
  },
});
