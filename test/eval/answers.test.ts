/** Which answers a model is asked for, and after which words: of an engine that says what it was asked. */
import { expect, test } from "bun:test";
import { convert } from "../../src/data/formats";
import { answerAll } from "../../src/eval/answers";
import type { Engine } from "../../src/generate/engine";
import { trainBpe } from "../../src/text/bpe";
import { builtIn, chatTemplate } from "../../src/text/template";
import { tokenizerFrom } from "../../src/text/tokenizer";

const tokenizer = tokenizerFrom(trainBpe([], { size: 257 }));
const template = chatTemplate(builtIn.chat!, tokenizer);

/** Answers every prompt by `own`, and ends. */
function asking(own: string) {
  const prompts: string[] = [];
  const engine = {
    *rolloutSteps(given: readonly number[][], { ends }: { ends(index: number, id: number): boolean }) {
      for (const [index, prompt] of given.entries()) {
        prompts.push(tokenizer.decode(prompt));
        for (const id of [...tokenizer.encode(own), tokenizer.endOfText!]) ends(index, id);
        yield [{ index }];
      }
    },
  } as unknown as Engine;
  return { prompts, on: { engine, tokenizer, template, context: 1000 } };
}

const turn = (role: string, content: string, more: object = {}) => ({ role, content, ...more });
const options = { batch: 8, maxTokens: 9, ownHistory: false };

function conversationOf(format: "completion" | "messages", fields: Record<string, unknown>) {
  const [sample] = convert([{ fields, where: "file:1" }], format, { paths: "best", lang: "", quality: 0 }).samples;
  if (sample?.kind !== "messages") throw new Error("it is no conversation");
  return sample;
}

test("of a conversation as prompt and completion only the completion is scored", async () => {
  const sample = conversationOf("completion", {
    prompt: [turn("user", "a"), turn("assistant", "b"), turn("user", "c")],
    completion: [turn("assistant", "d"), turn("user", "e"), turn("assistant", "f")],
  });
  const { prompts, on } = asking("d");
  const [answers] = await answerAll(on, [sample], options);
  expect(answers).toEqual([
    { question: "c", expected: "d", answer: "d", exact: true, ended: true },
    { question: "e", expected: "f", answer: "d", exact: false, ended: true },
  ]);
  expect(prompts[0]).toBe("User: a\nAssistant: b<|endoftext|>\nUser: c\nAssistant:");
});

test("answers without weight are read as they are, also where later turns follow the model's own", async () => {
  const sample = conversationOf("messages", {
    messages: [
      turn("user", "a"),
      turn("assistant", "b", { weight: 0 }),
      turn("user", "c"),
      turn("assistant", "d"),
      turn("user", "e"),
      turn("assistant", "f"),
    ],
  });
  const { prompts, on } = asking("own");
  const [answers] = await answerAll(on, [sample], { ...options, ownHistory: true });
  expect(answers!.map(({ expected }) => expected)).toEqual(["d", "f"]);
  expect(prompts).toEqual([
    "User: a\nAssistant: b<|endoftext|>\nUser: c\nAssistant:",
    "User: a\nAssistant: b<|endoftext|>\nUser: c\nAssistant: own<|endoftext|>\nUser: e\nAssistant:",
  ]);
});

test("answers are greedy, or sampled as they are asked to be", async () => {
  const sample = conversationOf("messages", { messages: [turn("user", "a"), turn("assistant", "b")] });
  const asked: object[] = [];
  const { on } = asking("d");
  const engine = {
    rolloutSteps: (
      given: number[][],
      { temperature, seed, maxTokens, ...more }: Parameters<Engine["rolloutSteps"]>[1],
    ) => {
      asked.push({ prompts: given.length, temperature, seed, maxTokens });
      return on.engine.rolloutSteps(given, { temperature, seed, maxTokens, ...more });
    },
  } as unknown as Engine;
  await answerAll({ ...on, engine }, [sample], options);
  await answerAll({ ...on, engine }, [sample, sample], { ...options, sampled: { temperature: 1, seed: 5 } });
  expect(asked).toMatchObject([
    { prompts: 1, temperature: 0, maxTokens: 9 },
    { prompts: 2, temperature: 1, seed: 5, maxTokens: 9 },
  ]);
});
