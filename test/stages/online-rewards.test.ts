/** What rewards are told of a stage's prompts before any answer is written. */
import { describe, expect, test } from "bun:test";
import type { Scratch } from "../../src/autograd/scratch";
import type { PromptExample } from "../../src/data/prompts";
import type { Context } from "../../src/stages/context";
import { openRewards } from "../../src/stages/online/rewarding";

describe("a rule that compares", () => {
  const prompt = (answer?: string): PromptExample => ({
    ids: Uint32Array.of(1),
    messages: [{ role: "user", content: "1+1=" }],
    columns: { prompt: "1+1=", ...(answer !== undefined && { answer }) },
    where: "sums:1",
  });
  const opened = (prompts: readonly PromptExample[], name = "exact") =>
    openRewards({ rewards: [name], timeout: 1 }, {} as Context, {
      rows: 1,
      shapes: [],
      scratch: null as unknown as Scratch,
      length: 4,
      prompts,
    });
  test("is refused where no prompt has an answer beside it", async () => {
    await expect(opened([prompt(), prompt()])).rejects.toThrow("the reward exact has nothing to compare with");
    expect((await opened([prompt()], "length:3")).lines).toEqual([]);
  });
  test("says how many have none", async () => {
    expect((await opened([prompt("2"), prompt()])).lines).toEqual([
      "exact: 1 of 2 prompts have no answer to compare with, first sums:1",
    ]);
    expect((await opened([prompt("2")])).lines).toEqual([]);
  });
});
