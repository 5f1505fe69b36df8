/** The file that results are kept in: every figure with what it was measured on and how, and why an entry has none. */
import { existsSync } from "node:fs";
import { z } from "zod";
import { UserError } from "../../errors";
import { readJson, writeTextAside } from "../../files";
import { figure } from "./measure";

const result = z.object({
  name: z.string(),
  kind: z.string(),
  /** As it was named. */
  model: z.string(),
  /** Of everything that the figures depend on: results of one key are the same. */
  key: z.string(),
  settings: z.record(z.string(), z.unknown()),
  /** The hashes of the files of all models, and of each file that was read. */
  hashes: z.object({
    model: z.string(),
    reward: z.string().optional(),
    against: z.string().optional(),
    files: z.record(z.string(), z.string()),
  }),
  method: z.string(),
  table: z.array(figure),
  figures: z.record(z.string(), z.unknown()),
  /** On what, and when. No part of the key. */
  made: z.object({ device: z.string(), finished: z.string(), seconds: z.number() }),
});
export type Result = z.infer<typeof result>;

const failure = z.object({ name: z.string(), kind: z.string(), model: z.string(), error: z.string() });
export type Failure = z.infer<typeof failure>;

const file = z.object({
  /** What was asked for, as it was read. */
  config: z.unknown(),
  results: z.array(result),
  failures: z.array(failure),
  /** What was measured before by other settings, of other models or on other data. */
  former: z.array(result).default([]),
});

export interface Report {
  readonly config: unknown;
  readonly results: readonly Result[];
  readonly failures: readonly Failure[];
  readonly former: readonly Result[];
}

/** Everything that a file keeps; nothing where there is none. Throws a UserError where it is another's. */
export function keptResults(path: string): Result[] {
  if (!existsSync(path)) return [];
  try {
    const { results, former } = readJson(path, file, "");
    return [...results, ...former];
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    throw new UserError(`${path} is there, and is no file of results: ${error.message.replace(`${path}: `, "")}`, {
      hint: "give another name, or move it away",
      exitCode: 2,
      cause: error,
    });
  }
}

/** What is known from before and is not asked for now stays in it. */
export function writeResults(path: string, { config, results, failures, former }: Report): void {
  const keys = new Set(results.map(({ key }) => key));
  const left = former.filter(({ key }) => !keys.has(key));
  writeTextAside(path, `${JSON.stringify({ config, results, failures, former: left }, null, 2)}\n`);
}
