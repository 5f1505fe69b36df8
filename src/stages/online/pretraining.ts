/** Pretraining mixed in (PPO-ptx, https://arxiv.org/abs/2203.02155, equation 2): with each step some windows of a text, so that the policy forgets less. */
import { z } from "zod";
import { expectWindow, randomWindows, windowOf } from "../../data/batches";
import { tokensOf } from "../../data/corpus";
import { percentages } from "../../log/console";
import type { Model } from "../../model/model";
import { nextToken } from "../../model/next-token";
import { scale } from "../../ops/elementwise";
import { zeros } from "../../ops/fill";
import { concat, slice } from "../../ops/parts";
import { detach } from "../../tensor/tensor";
import type { Context } from "../context";
import type { Beside } from "./online";

export const pretraining = z.strictObject({
  data: z.string().min(1).meta({ description: "a text file", neutral: true }),
  coefficient: z.number().gt(0).max(1e6).default(27.8).meta({ description: "what its loss is multiplied with" }),
  rows: z.int().min(1).max(65536).default(8).meta({ description: "windows of a micro-batch" }),
  accumulate: z.int().min(1).max(65536).default(1).meta({ description: "such micro-batches of a step" }),
  tokens: z.int().min(2).max(65536).default(128).meta({ description: "tokens of a window" }),
});

type Pretraining = z.infer<typeof pretraining>;

interface How {
  readonly recompute: boolean;
  readonly activations: "f32" | "bf16";
}

export async function pretrainingBeside(
  { data, coefficient, rows, accumulate, tokens: length }: Pretraining,
  { tokenizer, find, console, seed }: Context,
  model: Model,
  how: How,
): Promise<Beside> {
  const text = await tokensOf(await find(data), {
    name: data,
    tokenizer,
    onProgress: percentages(console, `tokenising ${data}`),
    onNote: console.note,
  });
  console.done();
  expectWindow(text, length, "the pretraining text");
  const shape = { rows, tokens: length };
  const into = windowOf(shape);
  return {
    names: ["loss/pretraining"],
    graph(names) {
      const { tokens, positions, targets, weight, loss, rowPositions } = nextToken(model, { rows, length, ...how });
      const own = detach(slice(loss, { count: 1 }));
      const whole = scale(loss, coefficient);
      // Told under its own name, and as a part of the whole loss.
      const others = names.length - 2;
      return {
        inputs: { tokens, positions, targets, weight },
        loss: whole,
        sums: concat([detach(whole), zeros([others]), own]),
        constants: { positions: rowPositions, weight: Float32Array.of(1 / (rows * length * accumulate)) },
      };
    },
    *step(step) {
      for (let micro = 0; micro < accumulate; micro++) {
        randomWindows(text, shape, { seed, index: step * accumulate + micro, into });
        yield { values: { ...into }, tokens: rows * length };
      }
    },
  };
}
