/** Files that travel inside the executable: the configs and the sample data, found by the path that they have in the project. */
import { existsSync } from "node:fs";
import alpaca from "../../configs/alpaca.toml" with { type: "file" };
import demo from "../../configs/demo.toml" with { type: "file" };
import evaluation from "../../configs/evaluation.toml" with { type: "file" };
import gpt2Shakespeare from "../../configs/gpt2-shakespeare.toml" with { type: "file" };
import oasst from "../../configs/oasst.toml" with { type: "file" };
import ppoGpt2 from "../../configs/ppo-gpt2.toml" with { type: "file" };
import ppoInstructGpt from "../../configs/ppo-instructgpt.toml" with { type: "file" };
import ppoNPlus from "../../configs/ppo-n-plus.toml" with { type: "file" };
import shakespeare from "../../configs/shakespeare-char.toml" with { type: "file" };
import smoke from "../../configs/smoke.toml" with { type: "file" };
import sums from "../../configs/sums.toml" with { type: "file" };
import talesOnly from "../../configs/tales.toml" with { type: "file" };
import talesAligned from "../../configs/tales-aligned.toml" with { type: "file" };
import talesAssistant from "../../configs/tales-assistant.toml" with { type: "file" };
import talesDistilled from "../../configs/tales-distilled.toml" with { type: "file" };
import talesLora from "../../configs/tales-lora.toml" with { type: "file" };
import talesPpo from "../../configs/tales-ppo.toml" with { type: "file" };
import dialogues from "../../data/dialogues.jsonl" with { type: "file" };
import dialoguesTest from "../../data/dialogues-test.jsonl" with { type: "file" };
import general from "../../data/general.jsonl" with { type: "file" };
import preferences from "../../data/preferences.jsonl" with { type: "file" };
import preferencesGeneral from "../../data/preferences-general.jsonl" with { type: "file" };
import preferencesTest from "../../data/preferences-test.jsonl" with { type: "file" };
import preferencesTruth from "../../data/preferences-truth.jsonl" with { type: "file" };
import questions from "../../data/questions.jsonl" with { type: "file" };
import questionsTest from "../../data/questions-test.jsonl" with { type: "file" };
import questionsValidation from "../../data/questions-validation.jsonl" with { type: "file" };
import ruleTest from "../../data/rule-test.jsonl" with { type: "file" };
import styled from "../../data/styled.jsonl" with { type: "file" };
import sumsLearned from "../../data/sums.jsonl" with { type: "file" };
import sumsPrompts from "../../data/sums-prompts.jsonl" with { type: "file" };
import sumsTest from "../../data/sums-test.jsonl" with { type: "file" };
import tales from "../../data/tales.txt" with { type: "file" };
import talesTest from "../../data/tales-test.txt" with { type: "file" };
import talesRule from "../../dist/tales-rule.js" with { type: "file" };

const embedded: Readonly<Record<string, string>> = {
  "configs/alpaca.toml": alpaca as unknown as string,
  "configs/demo.toml": demo as unknown as string,
  "configs/evaluation.toml": evaluation as unknown as string,
  "configs/gpt2-shakespeare.toml": gpt2Shakespeare as unknown as string,
  "configs/oasst.toml": oasst as unknown as string,
  "configs/ppo-gpt2.toml": ppoGpt2 as unknown as string,
  "configs/ppo-instructgpt.toml": ppoInstructGpt as unknown as string,
  "configs/ppo-n-plus.toml": ppoNPlus as unknown as string,
  "configs/shakespeare-char.toml": shakespeare as unknown as string,
  "configs/smoke.toml": smoke as unknown as string,
  "configs/sums.toml": sums as unknown as string,
  "configs/tales.toml": talesOnly as unknown as string,
  "configs/tales-assistant.toml": talesAssistant as unknown as string,
  "configs/tales-distilled.toml": talesDistilled as unknown as string,
  "configs/tales-lora.toml": talesLora as unknown as string,
  "configs/tales-aligned.toml": talesAligned as unknown as string,
  "configs/tales-ppo.toml": talesPpo as unknown as string,
  "data/dialogues.jsonl": dialogues,
  "data/dialogues-test.jsonl": dialoguesTest,
  "data/general.jsonl": general,
  "data/preferences.jsonl": preferences,
  "data/preferences-general.jsonl": preferencesGeneral,
  "data/preferences-test.jsonl": preferencesTest,
  "data/preferences-truth.jsonl": preferencesTruth,
  "data/questions.jsonl": questions,
  "data/questions-test.jsonl": questionsTest,
  "data/questions-validation.jsonl": questionsValidation,
  "data/rule-test.jsonl": ruleTest,
  "data/styled.jsonl": styled,
  "data/sums.jsonl": sumsLearned,
  "data/sums-prompts.jsonl": sumsPrompts,
  "data/sums-test.jsonl": sumsTest,
  "data/tales.txt": tales,
  "data/tales-rule.ts": talesRule,
  "data/tales-test.txt": talesTest,
};

/** The path itself if it exists, else the embedded file of that name, else the path unchanged. */
export function findFile(path: string): string {
  const inside = path.replace(/^\.\//, "");
  return !existsSync(path) && Object.hasOwn(embedded, inside) ? embedded[inside]! : path;
}

/** Names of the files inside. */
export const embeddedFiles = Object.keys(embedded);

/** Names of the suites inside: they say what is measured. */
export const embeddedSuites: readonly string[] = ["configs/evaluation.toml"];

/** Names of the configs inside. */
export const embeddedConfigs = embeddedFiles.filter(
  (name) => name.startsWith("configs/") && !embeddedSuites.includes(name),
);
