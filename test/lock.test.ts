/** Locks of files: held by the living, taken over from the dead, by one alone. */
import { describe, expect, spyOn, test } from "bun:test";
import * as fs from "node:fs";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { flockOf } from "../src/flock";
import { isHeld, tryLock } from "../src/lock";
import { temporaryFolder } from "./support/folder";

const starter = join(import.meta.dir, "support", "lock-starter.ts");
const flock = flockOf();

const start = (...args: string[]) => Bun.spawn([process.execPath, starter, ...args], { stdout: "pipe" });

async function firstLine({ stdout }: { readonly stdout: ReadableStream<Uint8Array> }): Promise<string> {
  const reader = stdout.getReader();
  const { value } = await reader.read();
  reader.releaseLock();
  return new TextDecoder().decode(value).trim();
}

const ways = [["by the kernel's lock", flock] as const, ["by who is written in it", null] as const];

for (const [name, way] of ways.filter(([, way], i) => i === 1 || way !== null)) {
  describe(name, () => {
    test("a lock is held until it is given back", () => {
      using folder = temporaryFolder();
      const path = join(folder.path, "lock");
      const first = tryLock(path, way);
      expect(isHeld(first)).toBe(false);
      expect(tryLock(path, way)).toMatchObject({ text: `process ${process.pid}` });
      (first as Disposable)[Symbol.dispose]();
      expect(existsSync(path)).toBe(false);
      const second = tryLock(path, way);
      expect(isHeld(second)).toBe(false);
      (second as Disposable)[Symbol.dispose]();
    });

    // What is left behind by a program that was killed: of a number that lives again, or of nobody that is known.
    for (const [what, text] of [
      ["nothing", ""],
      ["a number alone", String(process.ppid)],
      ["our own number, of a process that began at another time", record({ began: "1" })],
      ["a number of before the machine was started", record({ boot: "another", pid: process.ppid })],
    ] as const) {
      test.skipIf(process.platform !== "linux")(`a lock that nobody holds, in which stands ${what}, is taken`, () => {
        using folder = temporaryFolder();
        const path = join(folder.path, "lock");
        writeFileSync(path, text);
        const lock = tryLock(path, way);
        expect(isHeld(lock)).toBe(false);
        expect(JSON.parse(readFileSync(path, "utf8")).pid).toBe(process.pid);
        (lock as Disposable)[Symbol.dispose]();
      });
    }

    test("of many who start at once on one that was left behind, one has it", async () => {
      using folder = temporaryFolder();
      const path = join(folder.path, "lock");
      writeFileSync(path, record({ boot: "another" }));
      const at = String(Date.now() + 700);
      const args = way ? [path, at] : [path, at, "record"];
      const said = await Promise.all([1, 2, 3, 4].map(() => new Response(start(...args).stdout).text()));
      expect(said.filter((text) => text.trim() === "taken")).toHaveLength(1);
    });

    test("a lock is removed by nobody but who took it", () => {
      using folder = temporaryFolder();
      const path = join(folder.path, "lock");
      const first = tryLock(path, way) as Disposable;
      rmSync(path);
      const second = tryLock(path, way) as Disposable;
      if (way) {
        first[Symbol.dispose]();
        expect(isHeld(tryLock(path, way))).toBe(true);
      }
      second[Symbol.dispose]();
      expect(existsSync(path)).toBe(false);
    });
  });
}

test.skipIf(flock === null)("the lock of a process that is killed is free at once", async () => {
  using folder = temporaryFolder();
  const path = join(folder.path, "lock");
  const process = start(path, "0", "forever");
  expect(await firstLine(process)).toBe("taken");
  expect(tryLock(path)).toMatchObject({ text: `process ${process.pid}` });
  process.kill("SIGKILL");
  await process.exited;
  const lock = tryLock(path);
  expect(isHeld(lock)).toBe(false);
  (lock as Disposable)[Symbol.dispose]();
});

test.skipIf(flock === null)("a file that was removed before it was locked is no lock", () => {
  using folder = temporaryFolder();
  const path = join(folder.path, "lock");
  let theirs: Disposable | undefined;
  const late = {
    ...flock!,
    take(fd: number) {
      if (!theirs) {
        rmSync(path);
        theirs = tryLock(path, flock) as Disposable;
      }
      return flock!.take(fd);
    },
  };
  expect(tryLock(path, late)).toMatchObject({ text: `process ${process.pid}` });
  theirs![Symbol.dispose]();
});

test.skipIf(flock === null)("a lock's file is removed while it is still locked", () => {
  using folder = temporaryFolder();
  const path = join(folder.path, "lock");
  const lock = tryLock(path, flock) as Disposable;
  const { rmSync: remove } = { ...fs };
  const free: boolean[] = [];
  const spy = spyOn(fs, "rmSync").mockImplementation((file, options) => {
    const fd = fs.openSync(file, "r");
    free.push(flock!.take(fd));
    fs.closeSync(fd);
    remove(file, options);
  });
  lock[Symbol.dispose]();
  spy.mockRestore();
  expect(free).toEqual([false]);
  expect(existsSync(path)).toBe(false);
});

test("without the kernel's lock, one that another holds by now is not removed", () => {
  using folder = temporaryFolder();
  const path = join(folder.path, "lock");
  const lock = tryLock(path, null) as Disposable;
  const theirs = record({ host: "ada" });
  writeFileSync(path, theirs);
  lock[Symbol.dispose]();
  expect(readFileSync(path, "utf8")).toBe(theirs);
});

test("without the kernel's lock, that of a process in another container is left to it", () => {
  using folder = temporaryFolder();
  const path = join(folder.path, "lock");
  // Its number is nobody's here: past the most that Linux gives.
  writeFileSync(path, record({ space: "1", pid: 2 ** 22 + 1 }));
  expect(tryLock(path, null)).toMatchObject({ text: `process ${2 ** 22 + 1}` });
});

test("without the kernel's lock, that of another machine is left to it", () => {
  using folder = temporaryFolder();
  const path = join(folder.path, "lock");
  writeFileSync(path, record({ host: "ada", pid: 7 }));
  expect(tryLock(path, null)).toMatchObject({ text: "process 7 on ada" });
});

test.skipIf(flock === null)("a disk without the kernel's locks is known by a file that nobody has", () => {
  using folder = temporaryFolder();
  const path = join(folder.path, "lock");
  const none = { take: () => false, works: () => false };
  const lock = tryLock(path, none);
  expect(isHeld(lock)).toBe(false);
  expect(tryLock(path, none)).toMatchObject({ text: `process ${process.pid}` });
  (lock as Disposable)[Symbol.dispose]();
  expect(flock!.works(path)).toBe(true);
});

function record(changes: object): string {
  using folder = temporaryFolder();
  const path = join(folder.path, "lock");
  const lock = tryLock(path, null) as Disposable;
  const own = JSON.parse(readFileSync(path, "utf8"));
  lock[Symbol.dispose]();
  expect(own.host).toBe(hostname());
  return JSON.stringify({ ...own, ...changes });
}
