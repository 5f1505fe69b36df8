/** The options that say how an answer is written, and how it ends. */
import { type CompleteOptions, MOST_BIAS } from "../app/complete";
import { UserError } from "../errors";
import { sampling } from "../generate/sampling";
import { flagsOf } from "./flags";
import { all, numberOf } from "./options";

const flags = flagsOf(sampling, {
  "max-tokens": "maxTokens",
  temperature: "temperature",
  "top-k": "topK",
  "top-p": "topP",
  "min-p": "minP",
  "repetition-penalty": "repetitionPenalty",
  "presence-penalty": "presencePenalty",
  "frequency-penalty": "frequencyPenalty",
  seed: "seed",
});

export const samplingArgs = {
  ...flags.args,
  "logit-bias": {
    type: "string",
    repeated: true,
    description: "ID=VALUE is added to that token's logit; may be repeated",
  },
  stop: { type: "string", repeated: true, description: "text that ends the answer; may be repeated" },
  "stop-id": { type: "string", repeated: true, description: "a token id that ends the answer; may be repeated" },
  logprobs: {
    type: "boolean",
    needs: ["json", "prompts"],
    description: "adds every token with its log-probability; with --json or --prompts",
  },
  special: { type: "boolean", description: "reads <|endoftext|> in a prompt as the token, and not as plain text" },
} as const;

export function samplingOf(args: Readonly<Record<string, unknown>>, rawArgs: readonly string[]): CompleteOptions {
  return {
    ...flags.parse(args, rawArgs),
    stop: all(rawArgs, "stop"),
    stopIds: all(rawArgs, "stop-id").map((id) => numberOf("stop-id", id)),
    logitBias: new Map(all(rawArgs, "logit-bias").map(biasOf)),
    logProbs: args.logprobs === true,
    special: args.special === true,
  };
}

function biasOf(text: string): [number, number] {
  const [, id, value] = text.match(/^(\d+)=([-+]?[\d.]+(?:e[-+]?\d+)?)$/i) ?? [];
  if (id === undefined || !(Math.abs(Number(value)) <= MOST_BIAS)) {
    throw new UserError(
      `--logit-bias is ${JSON.stringify(text)}, expected ID=VALUE, such as 198=-5, of at most ${MOST_BIAS}`,
      { exitCode: 2 },
    );
  }
  return [Number(id), Number(value)];
}
