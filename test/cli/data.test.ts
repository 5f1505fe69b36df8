/** `dawngrad data show` of what it cannot show. */
import { expect, test } from "bun:test";
import { runCommand } from "citty";
import data from "../../src/cli/data";

test.each([["messages"], ["alpaca"], ["text"]])(
  "--pairs of records of %s, which prefer nothing, is refused",
  async (format) => {
    const rawArgs = ["show", "data/questions.jsonl", "--pairs", "--format", format];
    await expect(runCommand(data, { rawArgs })).rejects.toThrow(
      `records of ${format} are examples to follow, and say of no answer that it is better`,
    );
  },
);
