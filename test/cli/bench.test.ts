/** What `bench` refuses before it measures. */
import { expect, test } from "bun:test";
import { runCommand } from "citty";
import bench from "../../src/cli/bench";

test.each([
  ["--against is for the CPU device", ["--against", "wasm", "--device", "gpu"]],
  ['--only "no such": nothing that is measured has this in its name', ["--device", "cpu", "--only", "no such"]],
])("%s", async (message, rawArgs) => {
  await expect(runCommand(bench, { rawArgs })).rejects.toThrow(message);
});
