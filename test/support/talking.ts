/** Small models that can be talked to: random weights, a token a character, and a chat template where it is wanted. */
import { mkdirSync } from "node:fs";
import { type OpenSpeaker, speaker } from "../../src/app/speaker";
import { openDevice } from "../../src/device/open";
import { writeModel } from "../../src/formats/checkpoint";
import { SCORE } from "../../src/model/architecture";
import { parameter } from "../../src/model/parameters";
import { Slab } from "../../src/model/slab";
import { trainCharacters } from "../../src/text/characters";
import { builtIn, chatTemplate } from "../../src/text/template";
import { type Tokenizer, tokenizerFrom, withTemplate, writeTokenizer } from "../../src/text/tokenizer";
import { toy, toyModel } from "./model";

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,:;!?'\"()/#-\n\t\r日本語";

export function letterTokenizer(template: string | null = "chat"): Tokenizer {
  const tokenizer = tokenizerFrom(trainCharacters([letters]));
  return template === null ? tokenizer : withTemplate(tokenizer, builtIn[template]!);
}

export const talking = { ...toy, context: 256, vocabulary: letterTokenizer(null).size };

/** One to talk to, in this process. */
export function toySpeaker({
  template = "chat",
  context = talking.context,
  slots = 1,
  queue = 0,
  tokenizer = letterTokenizer(template),
}: {
  template?: string | null;
  context?: number;
  slots?: number;
  queue?: number;
  tokenizer?: Tokenizer;
} = {}): OpenSpeaker {
  const device = openDevice("cpu");
  const made = toyModel({ ...talking, context, vocabulary: tokenizer.size }, 3, device);
  const spoken = speaker(
    device,
    { ...made, tokenizer },
    {
      name: "toy",
      template: template === null ? null : chatTemplate(builtIn[template]!, tokenizer),
      slots,
      queue,
    },
  );
  return {
    ...spoken,
    given: "toy",
    why: "it was asked for",
    device: "cpu",
    [Symbol.dispose]() {
      for (const one of [spoken, made, device]) one[Symbol.dispose]();
    },
  };
}

/** A model's folder: the same, one of another seed, one that is `slow` enough to be interrupted, or one that scores. */
export async function writeToy(
  folder: string,
  {
    template = "chat",
    slow = false,
    seed = 3,
    scalar = false,
  }: { template?: string | null; slow?: boolean; seed?: number; scalar?: boolean } = {},
): Promise<void> {
  using device = openDevice("cpu");
  const tokenizer = letterTokenizer(template);
  const config = { ...talking, ...(scalar && { scalar }) };
  using made = toyModel(slow ? { ...config, context: 2048, layers: 8, width: 128 } : config, seed, device);
  const { width } = made.model.config;
  const { values } = made;
  // Without a row of its own the end token is never the likeliest.
  const { offset } = parameter(made.model.parameters, "wte.weight");
  values.fill(0, offset + tokenizer.endOfText! * width, offset + (tokenizer.endOfText! + 1) * width);
  // A head begins at zero.
  if (scalar) {
    const head = parameter(made.model.parameters, SCORE);
    for (let i = 0; i < head.size; i++) values[head.offset + i] = Math.sin(i + 1);
  }
  using weights = new Slab(device, made.model.parameters, { values });
  mkdirSync(folder, { recursive: true });
  await writeModel(folder, made.model, weights, tokenizer);
  await writeTokenizer(folder, tokenizer.files);
}
