/** Results that others took the place of: kept under their key, and brought back when they are wanted again. Nothing is deleted. */
import { existsSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { UserError } from "../errors";
import { keptAside, STAGE_FILE } from "../train/run-folder";
import type { Before, Decision } from "./decide";
import { keyOf } from "./parts";

/** Makes room for a result that is to be made again, or to come back. */
export function makeRoom(
  name: string,
  { what, why, key, before }: Decision,
  { directory, console }: Pick<Before, "directory" | "console">,
): void {
  const folder = join(directory, name);
  const kept = why === null ? null : freeName(join(directory, keptAside(name, before?.key ?? keyOf({}))));
  if (kept) renameSync(folder, kept);
  if (what === "bring back") {
    // Where nothing is kept, nothing was saved either.
    rmSync(folder, { recursive: true, force: true });
    renameSync(join(directory, keptAside(name, key)), folder);
  }
  const told = what === "bring back" ? "its former result is brought back" : "runs again";
  console.note(`${name}: ${told}${why === null ? "" : `: ${why}; the other is kept in ${kept}`}`);
}

/** Removes a result, and one of the same key that is kept. */
export function removeResult(
  name: string,
  key: string,
  { directory, console }: Pick<Before, "directory" | "console">,
): void {
  const folders = [name, keptAside(name, key)].map((each) => join(directory, each)).filter((each) => existsSync(each));
  if (folders.length === 0) return;
  const foreign = folders.find((each) => !existsSync(join(each, STAGE_FILE)) && readdirSync(each).length > 0);
  if (foreign)
    throw new UserError(`${foreign} is there, and was not made by this run`, {
      hint: "choose another folder with --out, or remove it yourself",
      exitCode: 2,
    });
  console.note(`${name}: begun anew; its old result is removed`);
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
}

/** Results of one key are the same, but one of them may only be begun. */
function freeName(path: string): string {
  let free = path;
  for (let i = 2; existsSync(free); i++) free = `${path}-${i}`;
  return free;
}
