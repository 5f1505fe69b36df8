/** Locks of folders: held by the living, taken over from the dead. */
import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { tryLock } from "../src/lock";
import { temporaryFolder } from "./support/folder";

test("a lock is held until it is given back", () => {
  using folder = temporaryFolder();
  const path = join(folder.path, "lock");
  const first = tryLock(path);
  expect(first).not.toBeNumber();
  expect(tryLock(path)).toBe(process.pid);
  (first as Disposable)[Symbol.dispose]();
  const second = tryLock(path);
  expect(second).not.toBeNumber();
  (second as Disposable)[Symbol.dispose]();
});

test("the lock of a process that is gone is taken over", async () => {
  using folder = temporaryFolder();
  const path = join(folder.path, "lock");
  const process = Bun.spawn(["true"]);
  await process.exited;
  writeFileSync(path, String(process.pid));
  expect(tryLock(path)).not.toBeNumber();
});

test.skipIf(process.platform !== "linux")("so is that of one which is dead but was never waited for", async () => {
  using folder = temporaryFolder();
  const path = join(folder.path, "lock");
  // The shell becomes a program that does not wait for its child.
  await using parent = Bun.spawn(["sh", "-c", "sleep 0.05 & echo $!; exec sleep 30"], { stdout: "pipe" });
  const { value } = await parent.stdout.getReader().read();
  const child = Number(new TextDecoder().decode(value));
  writeFileSync(path, String(child));
  let lock = tryLock(path);
  for (let i = 0; typeof lock === "number" && i < 100; i++) {
    await Bun.sleep(20);
    lock = tryLock(path);
  }
  expect(lock).not.toBeNumber();
  expect(() => process.kill(child, 0)).not.toThrow();
});
