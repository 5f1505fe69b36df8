/** A diamond of small stages, and its data: pretrain, two sft from it, one of them an adapter, and their mean. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { checkConfig } from "../../src/app/config-file";

export const records = (n: number) =>
  Array.from(
    { length: n },
    (_, i) => `${JSON.stringify({ prompt: `what is ${i % 7}`, completion: `it is ${(i * n) % 7}` })}\n`,
  ).join("");

export function diamond(folder: string, change: Record<string, object> = {}) {
  writeFileSync(join(folder, "text.txt"), "what is it? it is a number 0123456. ".repeat(60));
  writeFileSync(join(folder, "a.jsonl"), records(30));
  writeFileSync(join(folder, "b.jsonl"), records(31));
  const shape = { batch: { rows: 4, tokens: 24 }, evaluate: { every: 4, batches: 2 }, save: { every: 2 } };
  const sft = (name: string, more: object) => ({
    kind: "sft",
    name,
    from: "pretrain",
    data: join(folder, `${name}.jsonl`),
    template: "instruction",
    ...shape,
    batch: { rows: 4, tokens: 64 },
    optim: { steps: 6, lr: 1e-3 },
    ...more,
  });
  return checkConfig({
    name: "diamond",
    model: { layers: 1, heads: 1, width: 16, context: 64 },
    tokenizer: { kind: "character" },
    stage: [
      { kind: "pretrain", data: join(folder, "text.txt"), ...shape, optim: { steps: 8, lr: 3e-3 }, ...change.pretrain },
      sft("a", { ...change.a }),
      sft("b", { lora: { rank: 2, targets: ["all-linear"] }, ...change.b }),
      { kind: "merge", models: ["a", "b"], ...change.merge },
    ],
  });
}
