/** The script that counts on paper what a training step asks of a GPU. */
import { expect, test } from "bun:test";
import { trainingStep } from "../src/app/training-step";
import { withTraits } from "../src/device/device";
import { device, gpuForms } from "./support/device";

test("counts the dispatches that an adapter is given, and the products of the model", () => {
  const { stdout, exitCode } = Bun.spawnSync([process.execPath, "scripts/roofline.ts", "micro", "2", "40"]);
  expect(exitCode).toBe(0);
  const [, count, gflop] = /^in all +(\d+) +(\d+)/m.exec(stdout.toString())!;
  using step = trainingStep(withTraits(device("adapter"), gpuForms.gpu), {
    preset: "micro",
    rows: 2,
    length: 40,
    vocabulary: 50257,
  });
  // Beside the step's own: the gradients are cleared, measured by two, and applied.
  expect(Number(count)).toBe(step.dispatches + 4);
  // 6 a weight and token, of which are 12 C^2 a layer and the table's.
  expect(Number(gflop)).toBeCloseTo((6 * 80 * (2 * 12 * 128 ** 2 + 50257 * 128)) / 1e9, 0);
});
