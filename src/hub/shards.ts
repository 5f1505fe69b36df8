/** Which file holds each tensor of a model that is kept in shards, by the index beside them. */
import { z } from "zod";
import { shown, UserError } from "../errors";
import { readJson } from "../files";

const indexSchema = z.object({ weight_map: z.looseObject({}) });

/** The files that an index names. */
export function shardsIn(index: string): string[] {
  return [...new Set(shardMap(index).values())].sort();
}

/** Reads an index file. No file that it names lies elsewhere than beside it. */
export function shardMap(path: string): Map<string, string> {
  const { weight_map: places } = readJson(path, indexSchema, "the file may be truncated or damaged; fetch it again");
  const entries = Object.entries(places);
  if (entries.length === 0) throw new UserError(`${path} names no tensors`);
  const bad = entries.find(([, name]) => typeof name !== "string" || !/^[\w.-]+\.safetensors$/.test(name));
  if (bad) throw new UserError(`${path} puts ${bad[0]} into ${shown(bad[1])}, which is no file beside it`);
  return new Map(entries as [string, string][]);
}
