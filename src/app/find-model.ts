/** The best model there is, by what the runs say: aligned before fine-tuned before pretrained, and of those the newest. */
import { existsSync, readdirSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { z } from "zod";
import { UserError } from "../errors";
import { readJson } from "../files";
import { readIndex } from "../train/checkpoints";
import { INDEX_FILE, MODEL_FOLDER, RUN_FILE, STAGE_FILE } from "../train/run-folder";

/** Where configs without --out are run. */
const RUNS = "runs";

const ALIGNED = ["dpo", "kto", "orpo", "cpo", "ppo", "grpo", "rloo"];
const PRETRAINED = "pretrain";

/** What may be asked for by its kind, beside a path or a name. */
export const modelKinds: readonly string[] = [...ALIGNED, "sft", "merge", PRETRAINED, "pretrained"];

export interface FoundModel {
  /** What opens it. */
  readonly given: string;
  /** Why it is this one, as a sentence. */
  readonly why: string;
}

interface Candidate {
  readonly path: string;
  readonly kind: string;
  readonly rank: number;
  readonly madeMs: number;
}

const runSchema = z.object({ stage: z.array(z.object({ name: z.string(), kind: z.string() })) });

/** `wanted`: a path or a name, a kind of stage, or nothing. Throws a UserError where there is none. */
export function findModel(wanted: string | undefined): FoundModel {
  if (wanted !== undefined && (existsSync(wanted) || !modelKinds.includes(wanted)))
    return { given: wanted, why: "it was asked for" };
  const all = candidates();
  const kind = wanted === "pretrained" ? PRETRAINED : wanted;
  const fitting = kind === undefined ? all : all.filter((one) => one.kind === kind);
  const [best] = fitting.toSorted((a, b) => b.rank - a.rank || b.madeMs - a.madeMs);
  if (best) return { given: best.path, why: kind ? `the newest of the kind ${kind}` : reason(best, fitting.length) };
  if (wanted === "pretrained") return { given: "gpt2", why: `no run under ${RUNS}/ has pretrained a model` };
  const there = all.map(({ path, kind }) => `${path} (${kind})`).join(", ");
  throw new UserError(
    kind ? `no run under ${RUNS}/ has a model of the kind ${kind}` : `there is no model under ${RUNS}/`,
    {
      hint: there
        ? `there is ${there}`
        : "make one (`dawngrad run configs/tales-assistant.toml`), or give one: --model PATH, or a Hub name such as gpt2",
    },
  );
}

function reason({ kind, rank }: Candidate, count: number): string {
  const word = ["pretrained", "fine-tuned", "aligned"][rank]!;
  return `${word} (${kind})${count > 1 ? `, the best of ${count} stages under ${RUNS}/` : ""}`;
}

function candidates(): Candidate[] {
  if (!existsSync(RUNS)) return [];
  return readdirSync(RUNS).flatMap((run) => {
    const folder = join(RUNS, run);
    if (!existsSync(join(folder, RUN_FILE))) return [];
    let highest = 0;
    return stagesOf(folder).flatMap(({ name, kind }) => {
      if (kind === "reward" || kind === "eval") return [];
      // What was merged is what it was merged of.
      const rank = ALIGNED.includes(kind) ? 2 : kind === PRETRAINED ? 0 : kind === "merge" ? highest : 1;
      highest = Math.max(highest, rank);
      const path = join(folder, name);
      const madeMs = madeAt(path);
      return madeMs === null ? [] : [{ path, kind, rank, madeMs }];
    });
  });
}

/** A run whose config cannot be read hides no other. */
function stagesOf(run: string) {
  try {
    return readJson(join(run, RUN_FILE), runSchema, "").stage;
  } catch (error) {
    if (error instanceof UserError) return [];
    throw error;
  }
}

/** When a stage's model was written; null where it has none. */
function madeAt(stage: string): number | null {
  const has = readIndex(stage) !== null || existsSync(join(stage, MODEL_FOLDER, "config.json"));
  if (!has) return null;
  const times = [INDEX_FILE, STAGE_FILE, MODEL_FOLDER].flatMap(
    (name) => statSync(join(stage, name), { throwIfNoEntry: false })?.mtimeMs ?? [],
  );
  return Math.max(0, ...times);
}

/** A short name for what was opened: a run's stage as RUN/STAGE, a folder by its own name, the Hub's name as it is. */
export function shortName(given: string): string {
  if (!existsSync(given)) return given;
  const parts = given.split(/[\\/]+/).filter((part) => part !== "" && part !== ".");
  while (parts.length > 1 && (/^step-\d+$/.test(parts.at(-1)!) || parts.at(-1) === MODEL_FOLDER)) parts.pop();
  const stage = existsSync(join(given, STAGE_FILE)) || existsSync(join(given, INDEX_FILE));
  return stage && parts.length > 1 ? parts.slice(-2).join("/") : basename(parts.join("/")) || given;
}
