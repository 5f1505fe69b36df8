/** Wherever a command takes a model: a run, a stage, a checkpoint, a model directory, or a name on the Hub, fetched if it is missing. */
import { existsSync } from "node:fs";
import { UserError } from "../errors";
import { cachedModel, fetchModel, isHubName } from "../hub/fetch";
import { type Console, duration } from "../log/console";
import { findFile } from "./embedded";
import { modelDirectory } from "./model";

/** The model directory that `given` stands for. What lies on the disk under that path goes before a name on the Hub. */
export async function locateModel(given: string, console: Console): Promise<string> {
  const path = findFile(given);
  if (existsSync(path) || !isHubName(given)) return modelDirectory(path);
  return cachedModel(given) ?? (await fetchWithProgress(given, console));
}

/** Fetches a model by its Hub name, with a bar, the speed and the time left. */
export async function fetchWithProgress(name: string, console: Console): Promise<string> {
  if (!isHubName(name)) {
    throw new UserError(`${name} is not a model's name`, {
      hint: "give a name such as gpt2 or owner/name",
      exitCode: 2,
    });
  }
  const start = performance.now();
  let shown = start;
  let first: number | null = null;
  try {
    return await fetchModel(name, (done, total, file) => {
      const now = performance.now();
      first ??= done;
      if (now - shown < 200 && done < total) return;
      shown = now;
      const speed = (done - first) / Math.max(1, now - start);
      const left = speed > 0 ? `  eta ${duration((total - done) / speed / 1000)}` : "";
      console.status(
        `${bar(done / total)} ${megabytes(done)} of ${megabytes(total)} MB  ${(speed / 1000).toFixed(1)} MB/s${left}  ${file}`,
      );
    });
  } finally {
    console.done();
  }
}

const WIDTH = 24;

function bar(share: number): string {
  const full = Math.round(WIDTH * Math.min(1, share));
  return `[${"#".repeat(full)}${"-".repeat(WIDTH - full)}]`;
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0);
}
