/** The records of a data file, whatever they are: rows, those that lie inside something found, cells that hold lists read. */
import { UserError } from "../errors";
import { unfolded, withLists } from "./nested";
import type { Rows } from "./row";
import { readRows } from "./rows";

/** `path` is what the file is called in messages. Throws a UserError where there is none. */
export async function readRecords(file: string, path: string): Promise<Rows> {
  const { rows: read, bad } = unfolded(await readRows(file, path), path);
  if (read.length === 0) throw new UserError(`${path} has no record: ${bad[0]?.problem ?? "it is empty"}`);
  return { rows: read.map(withLists), bad };
}
