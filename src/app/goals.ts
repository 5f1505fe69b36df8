/** What `dawngrad init` writes: a commented config for each goal, and sample data in the form that it wants. They travel inside the executable. */
import gpt2Lora from "../../configs/init/gpt2-lora.toml" with { type: "text" };
import preferences from "../../configs/init/preferences.toml" with { type: "text" };
import questions from "../../configs/init/questions.toml" with { type: "text" };
import text from "../../configs/init/text.toml" with { type: "text" };

export interface Goal {
  /** What it is for, in a few words. */
  readonly about: string;
  readonly config: string;
  /** The files that the config names, and where a sample of each is inside the executable. */
  readonly data: Readonly<Record<string, string>>;
}

const [TEXT, QUESTIONS, PAIRS] = ["data/tales.txt", "data/questions.jsonl", "data/preferences.jsonl"] as const;

/** TOML imports are typed as what they parse to. */
const asText = (config: unknown) => config as string;

export const goals: Readonly<Record<string, Goal>> = {
  text: { about: "a model that writes like your text", config: asText(text), data: { "text.txt": TEXT } },
  questions: {
    about: "a small assistant for your questions",
    config: asText(questions),
    data: { "text.txt": TEXT, "questions.jsonl": QUESTIONS },
  },
  preferences: {
    about: "an assistant that learns which answers you like better",
    config: asText(preferences),
    data: { "text.txt": TEXT, "questions.jsonl": "data/styled.jsonl", "pairs.jsonl": PAIRS },
  },
  "gpt2-lora": {
    about: "GPT-2 with an adapter that learns your questions",
    config: asText(gpt2Lora),
    data: { "questions.jsonl": QUESTIONS },
  },
};
