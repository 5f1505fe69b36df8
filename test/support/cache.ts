/** A cache of a test file's own, which is gone afterwards. */
import { afterAll, beforeAll } from "bun:test";
import { temporaryFolder } from "./folder";

/** Keeps what the tests of this file cache in a folder of their own. */
export function ownCacheFolder(): void {
  const before = process.env.DAWNGRAD_CACHE;
  let folder: ReturnType<typeof temporaryFolder>;
  beforeAll(() => {
    folder = temporaryFolder();
    process.env.DAWNGRAD_CACHE = folder.path;
  });
  afterAll(() => {
    folder[Symbol.dispose]();
    if (before === undefined) delete process.env.DAWNGRAD_CACHE;
    else process.env.DAWNGRAD_CACHE = before;
  });
}
