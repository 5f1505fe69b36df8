/** Which reward a word in a config means: a rule by its name, a module by its path, an endpoint by its address; else a model. */
import { UserError } from "../errors";
import { endpointReward } from "./endpoint";
import { moduleReward } from "./module";
import { checkedScores, type Reward } from "./reward";
import { ruleOf } from "./rules";

export type RewardKind =
  | { readonly kind: "rule" }
  /** `wanted`: a function of it, by what stands behind a # in its path. */
  | { readonly kind: "module"; readonly path: string; readonly wanted: string | undefined }
  | { readonly kind: "endpoint" }
  | { readonly kind: "model" };

const MODULE = /^(.+\.(?:ts|mts|js|mjs))(?:#(\w+))?$/;

/** Throws a UserError where it begins like a rule or an address, and is none. */
export function rewardKind(name: string): RewardKind {
  if (/^https?:\/\//.test(name)) {
    if (URL.canParse(name)) return { kind: "endpoint" };
    throw new UserError(`${name} is no address`, { hint: "give one such as http://localhost:8000/score", exitCode: 2 });
  }
  const [, path, wanted] = MODULE.exec(name) ?? [];
  if (path !== undefined) return { kind: "module", path, wanted };
  return { kind: ruleOf(name) ? "rule" : "model" };
}

/** What a reward's figures are called. */
export function rewardName(name: string): string {
  const kind = rewardKind(name);
  if (kind.kind === "module") return kind.wanted ?? kind.path.replace(/^.*[\\/]/, "").replace(/\.\w+$/, "");
  if (kind.kind === "endpoint") return new URL(name).host;
  return kind.kind === "rule" ? name.split(":")[0]! : name.replace(/^.*\//, "");
}

export interface OpenedBy {
  /** Where a module is: on disk. */
  find(path: string): Promise<string>;
  /** Seconds after which a module or an endpoint is no longer waited for. */
  readonly timeout: number;
}

/** The reward of this name, which is no model's. */
export async function openNamed(given: string, { find, timeout }: OpenedBy): Promise<Reward> {
  const kind = rewardKind(given);
  const name = rewardName(given);
  switch (kind.kind) {
    case "module":
      return moduleReward({ name, path: await find(kind.path), wanted: kind.wanted, timeout });
    case "endpoint":
      return endpointReward({ name, url: given, timeout });
    case "rule": {
      const rule = ruleOf(given)!;
      return {
        name,
        score: async (answers) =>
          checkedScores(
            answers.map(({ messages, answer, columns }) => rule(messages, answer, columns)),
            answers,
            `the rule ${given}`,
          ),
        [Symbol.dispose]() {},
      };
    }
    case "model":
      throw new Error(`${given} is a model`);
    default:
      throw new Error(`reward ${kind satisfies never}`);
  }
}
