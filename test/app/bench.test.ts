/** Measuring: what is chosen by name, and what is left on a device that is too small for a case. */
import { expect, test } from "bun:test";
import { benchmark } from "../../src/app/bench";
import { trainingStep } from "../../src/app/training-step";
import { openCpu } from "../../src/device/cpu/cpu";
import { UserError } from "../../src/errors";

async function namesOf(only?: string): Promise<string[]> {
  const found = await Array.fromAsync(benchmark([], { profile: false, soak: 0, only }));
  return found.map(({ name }) => name);
}

test("a name that nothing has is refused, and none chooses all", async () => {
  await expect(namesOf("no such")).rejects.toThrow('--only "no such": nothing that is measured has this in its name');
  const names = await namesOf();
  expect(names).toContain("matmul 64x768x768");
  expect(await namesOf("64x768")).toEqual(names.filter((name) => name.includes("64x768")));
});

test("a training step that does not fit leaves nothing on the device", () => {
  using device = openCpu(1);
  const { heap } = device.pool;
  const place = () => {
    const at = heap.allocate(1024);
    heap.free(at);
    return at;
  };
  const before = place();
  const tooLarge = { preset: "micro", rows: 16384, length: 128, vocabulary: 64 };
  expect(() => trainingStep(device, tooLarge)).toThrow(UserError);
  expect(place()).toBe(before);
});
