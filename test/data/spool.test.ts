/** What comes through a pipe is read once, and is there as often as it is needed, until the program ends. */
import { expect, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { isSpooled, spooled, spooledBefore } from "../../src/data/spool";
import { temporaryFolder } from "../support/folder";

test("a file, a folder, or nothing is what it is", async () => {
  using folder = temporaryFolder();
  const file = join(folder.path, "file");
  writeFileSync(file, "text");
  for (const path of [file, folder.path, join(folder.path, "missing"), "\0"]) {
    expect(await spooled(path)).toBe(path);
    expect([spooledBefore(path), isSpooled(path)]).toEqual([path, false]);
  }
});

test("a pipe is read once", async () => {
  using folder = temporaryFolder();
  const pipe = join(folder.path, "pipe.jsonl");
  expect(Bun.spawnSync(["mkfifo", pipe]).exitCode).toBe(0);
  expect(spooledBefore(pipe)).toBe(pipe);
  const text = "a line\n".repeat(30_000);
  const writer = Bun.spawn(["sh", "-c", 'cat > "$0"', pipe], { stdin: Buffer.from(text) });
  const copy = await spooled(pipe);
  expect(await writer.exited).toBe(0);
  expect(copy).toEndWith("pipe.jsonl");
  expect(readFileSync(copy, "utf8")).toBe(text);
  // Nobody writes any more: to read it again would wait for ever.
  expect(await spooled(pipe)).toBe(copy);
  expect([spooledBefore(pipe), isSpooled(copy)]).toEqual([copy, true]);
});

test("its copy is gone when the program ends", async () => {
  const script = `import { spooled } from ${JSON.stringify(resolve("src/data/spool.ts"))}; console.log(await spooled("/dev/stdin"));`;
  const child = Bun.spawn([process.execPath, "-e", script], { stdin: "pipe", stdout: "pipe" });
  child.stdin.write("text");
  child.stdin.end();
  const copy = (await child.stdout.text()).trim();
  expect(await child.exited).toBe(0);
  expect(copy).toEndWith("stdin");
  expect(existsSync(copy)).toBe(false);
});
