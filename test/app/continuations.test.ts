/** Continuations are read behind their prompts wherever they become text: here with an engine that says given tokens. */
import { expect, test } from "bun:test";
import { complete } from "../../src/app/complete";
import { showExample } from "../../src/data/show";
import { answerAll } from "../../src/eval/answers";
import type { Engine, GenerateOptions } from "../../src/generate/engine";
import { sampling } from "../../src/generate/sampling";
import { tokenizerFrom } from "../../src/text/tokenizer";

const pieces = ["[UNK]", "[END]", "The", "cat", "##s", "sat", ".", "two"];
const tokenizer = tokenizerFrom({
  tokenizer: {
    added_tokens: [{ id: 1, content: "[END]", special: true }],
    pre_tokenizer: { type: "BertPreTokenizer" },
    decoder: { type: "WordPiece", prefix: "##" },
    model: { type: "WordPiece", vocab: Object.fromEntries(pieces.map((piece, id) => [piece, id])), unk_token: "[UNK]" },
  },
  config: { eos_token: "[END]" },
});
const ids = (...tokens: string[]) => tokens.map((token) => pieces.indexOf(token));

/** Says the same to every prompt. */
function saying(said: readonly number[]): Engine {
  const say = (row: number, { ends }: GenerateOptions) => said.find((id) => ends?.(row, id));
  return {
    *generate(prompts: readonly (readonly number[])[], options: GenerateOptions) {
      for (const row of prompts.keys()) say(row, options);
      yield [];
    },
    *rolloutSteps(prompts: readonly (readonly number[])[], options: GenerateOptions) {
      for (const index of prompts.keys()) {
        say(index, options);
        yield [{ index }];
      }
    },
  } as unknown as Engine;
}

test("generated text begins where its prompt ends", () => {
  const engine = saying(ids("##s", "sat", ".", "[END]"));
  const texts = ["", ""];
  for (const { row, text } of complete({ engine, tokenizer }, ["The cat", ""], { ...sampling.parse({}), maxTokens: 9 }))
    texts[row] += text;
  // Behind an empty prompt nothing stands.
  expect(texts).toEqual(["s sat .", "##s sat ."]);
});

test("answers are what they add to the question", async () => {
  const template = {
    source: "",
    end: null,
    encode: () => ({ ids: [], trained: [] }),
    prompt: () => tokenizer.encode("The cat"),
    unfinished: () => [],
  };
  const conversation = [
    { role: "user", content: "The cat" },
    { role: "assistant", content: "s sat" },
  ] as const;
  const engine = saying(ids("##s", "sat", "[END]"));
  const [answers] = await answerAll({ engine, tokenizer, template, context: 99 }, [{ messages: conversation }], {
    batch: 1,
    maxTokens: 9,
    ownHistory: false,
  });
  expect(answers).toMatchObject([{ answer: "s sat", exact: true, ended: true }]);
});

test("examples are shown as one text", () => {
  const trained = Uint8Array.of(0, 0, 1, 1);
  const example = { ids: Uint32Array.from(ids("The", "cat", "##s", "sat")), trained, targets: 2, where: "x:1" };
  expect(showExample(example, tokenizer, { colour: false })).toBe("The cat«s sat»");
});
