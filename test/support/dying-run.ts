/** A process that runs the config in a file and kills itself, as by kill -9, at the first note with a text in it. */
import { readFileSync } from "node:fs";
import { checkConfig } from "../../src/app/config-file";
import { runPipeline } from "../../src/app/pipeline";
import { openDevice } from "../../src/device/open";
import { silent } from "./console";

const [config = "", directory = "", text = ""] = process.argv.slice(2);
using device = openDevice("cpu", { threads: 1 });
await runPipeline(checkConfig(JSON.parse(readFileSync(config, "utf8"))), {
  device,
  directory,
  console: {
    ...silent,
    note(line) {
      if (line.includes(text)) process.kill(process.pid, "SIGKILL");
    },
  },
  signal: new AbortController().signal,
  write() {},
});
