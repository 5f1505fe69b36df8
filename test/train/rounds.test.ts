/** A toy stage of reinforcement learning's shape: a policy and a critic, four steps on one rollout, a baseline that moves. */
import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Scratch } from "../../src/autograd/scratch";
import { writeSafetensors } from "../../src/formats/safetensors";
import { namedValues, prefixed, readSlab } from "../../src/formats/slabs";
import { initialise, layOut } from "../../src/model/parameters";
import { Slab } from "../../src/model/slab";
import { add, scale, square, sum } from "../../src/ops";
import { randomAt } from "../../src/ops/random";
import { input, type Tensor } from "../../src/tensor/tensor";
import { fit } from "../../src/train/fit";
import { training } from "../../src/train/settings";
import type { Json, Stage } from "../../src/train/stage";
import { silent } from "../support/console";
import { device, onEachDevice } from "../support/device";
import { temporaryFolder } from "../support/folder";

/** The policy runs after what was drawn round its own weights, the critic after the policy's rewards. */
function toyStage(keepsState: boolean): Stage {
  const layout = () => layOut([{ name: "w", shape: [8], init: { std: 1 }, decay: true }]);
  const slab = (seed: number, parameters = layout()) =>
    new Slab(device(), parameters, { values: initialise(parameters, seed) });
  const [policy, critic, scratch] = [slab(1), slab(2), new Scratch(device())];
  const [x, rewards] = [input("x", [8]), input("rewards", [8])];
  const apart = (a: Tensor, b: Tensor) => sum(square(add(a, scale(b, -1))));
  const weightsOf = ({ parameters }: Slab) => parameters.list[0]!.tensor;
  const loss = add(apart(weightsOf(policy), x), apart(weightsOf(critic), rewards));
  let rollout = { round: -1, x: [] as number[], baseline: 0 };
  const roll = (round: number) => {
    if (rollout.round === round) return rollout;
    const drawn = [...policy.download().subarray(0, 8)].map((w, i) => Math.fround(w / 2 + randomAt(9, round, i)));
    const reward = drawn.reduce((total, v) => total + v, 0) / 8;
    rollout = { round, x: drawn, baseline: Math.fround((keepsState ? 0.9 * rollout.baseline : 0) + 0.1 * reward) };
    return rollout;
  };
  const files = { policy, critic };
  return {
    trained: [{ weights: policy }, { weights: critic, rate: 0.5, name: "critic" }],
    frozen: [],
    graphs: [{ inputs: { x, rewards }, loss, sums: loss, constants: {} }],
    scratch,
    names: ["loss"],
    fingerprints: {},
    steps: 14,
    round: 4,
    async *step(step) {
      const { x, baseline } = roll(Math.floor(step / 4));
      const rewards = Float32Array.from(x, (v) => v - baseline);
      yield { graph: 0, values: { x: Float32Array.from(x), rewards }, tokens: 8, metrics: { baseline } };
    },
    evaluate: async () => ((score) => ({ values: { score }, score }))(critic.download()[0]!),
    start: async () => ({ lines: [], held: null }),
    samples: () => [],
    async write(directory) {
      for (const [name, weights] of Object.entries(files))
        writeSafetensors(join(directory, `${name}.safetensors`), namedValues(weights, prefixed("")));
    },
    read(directory) {
      for (const [name, weights] of Object.entries(files))
        readSlab(join(directory, `${name}.safetensors`), weights, prefixed(""));
    },
    ...(keepsState && {
      state: { save: () => rollout as Json, load: (json: Json) => (rollout = json as typeof rollout) },
    }),
    [Symbol.dispose]: () => [policy, critic, scratch].forEach((owned) => void owned[Symbol.dispose]()),
  };
}

interface Sitting {
  readonly keepsState: boolean;
  readonly signal?: AbortSignal;
  /** Changes the stage before it is trained. */
  readonly change?: (stage: Stage) => Stage;
}

async function train(directory: string, { keepsState, signal, change = (stage) => stage }: Sitting) {
  using stage = toyStage(keepsState);
  const optim = training.optim.parse({ lr: 0.1, schedule: "constant" });
  const [evaluate, save] = [training.evaluate.parse({ every: 5 }), training.save.parse({ every: 3, keep: 9 })];
  const settings = {
    batch: { rows: 1, accumulate: 1 },
    optim,
    evaluate,
    save,
    samples: training.samples.parse({}),
    logEvery: 1,
  };
  const quiet = { name: "toy", device: device(), settings, directory, console: silent };
  return await fit(change(stage), { ...quiet, signal: signal ?? new AbortController().signal });
}

const result = (folder: string) => {
  const lines = readFileSync(join(folder, "metrics.jsonl"), "utf8").trim().split("\n");
  const told = lines.map((line) => ({ ...JSON.parse(line), tokens_per_second: undefined }));
  const files = ["policy", "critic", "optimizer"].map((name) =>
    readFileSync(join(folder, "step-000014", `${name}.safetensors`)),
  );
  return { told, files };
};

onEachDevice(() => {
  describe.each([true, false])("rounds of four steps, state kept: %p", (keepsState) => {
    test.each([1, 6, 7, 8, 13])("killed in step %i and resumed, all is as if it had not been", async (at) => {
      using whole = temporaryFolder();
      using broken = temporaryFolder();
      await train(whole.path, { keepsState });
      const kill = (stage: Stage): Stage => ({
        ...stage,
        step(step, share) {
          if (step + 1 === at) throw new Error("killed");
          return stage.step(step, share);
        },
      });
      const killed = await train(broken.path, { keepsState, change: kill }).catch((error: Error) => error.message);
      expect(killed).toBe("killed");
      await train(broken.path, { keepsState });
      expect(result(broken.path)).toEqual(result(whole.path));
    });

    test.each([2, 5, 8, 14])("interrupted in step %i likewise", async (at) => {
      using whole = temporaryFolder();
      using broken = temporaryFolder();
      await train(whole.path, { keepsState });
      const controller = new AbortController();
      const stop = (stage: Stage): Stage => ({
        ...stage,
        step(step, share) {
          if (step + 1 === at) controller.abort();
          return stage.step(step, share);
        },
      });
      const { reason, progress } = await train(broken.path, { keepsState, signal: controller.signal, change: stop });
      // Without state a round is finished first.
      expect({ reason, step: progress.step }).toEqual({
        reason: "interrupted",
        step: keepsState ? at : Math.min(14, 4 * Math.ceil(at / 4)),
      });
      expect((await train(broken.path, { keepsState })).reason).toBe("finished");
      expect(result(broken.path)).toEqual(result(whole.path));
    });
  });

  test("both slabs learn, the second at its own rate, and both have moments of their own", async () => {
    using folder = temporaryFolder();
    const { progress } = await train(folder.path, { keepsState: true });
    expect(progress).toMatchObject({ step: 14, tokens: 14 * 8 });
    const lines = readFileSync(join(folder.path, "metrics.jsonl"), "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    const losses = lines.flatMap(({ loss }) => (loss === undefined ? [] : [loss as number]));
    expect(losses[3]!).toBeLessThan(losses[0]!);
    expect(new Set(lines.flatMap(({ baseline }) => baseline ?? [])).size).toBe(4);
    expect(readdirSync(join(folder.path, "step-000014")).sort()).toContain("critic.safetensors");
  });
});
