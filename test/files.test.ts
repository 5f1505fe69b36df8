/** Files are whole or not there, and what is wrong with one is a sentence. */
import { describe, expect, spyOn, test } from "bun:test";
import * as fs from "node:fs";
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { UserError } from "../src/errors";
import {
  clearRemains,
  jsonObject,
  keepDamaged,
  readJson,
  readTextFile,
  textOf,
  unreadable,
  writeAside,
  writeNew,
  writeTextAside,
} from "../src/files";
import { watchDisk } from "./support/disk";
import { temporaryFolder } from "./support/folder";

const inFolder = (write: (temporary: string) => void) => async (path: string) =>
  writeAside(path, (temporary) => {
    mkdirSync(temporary);
    write(temporary);
  });

describe("what is written aside", () => {
  test("replaces a file only once it is whole, and makes its folder", async () => {
    using folder = temporaryFolder();
    const path = join(folder.path, "new", "file");
    const size = await writeAside(path, async (temporary) => {
      expect(existsSync(path)).toBe(false);
      return Bun.write(temporary, "first");
    });
    expect(size).toBe(5);
    await writeAside(path, (temporary) => {
      writeFileSync(temporary, "second");
      expect(readFileSync(path, "utf8")).toBe("first");
    });
    writeTextAside(`${path}.txt`, "third");
    expect(readdirSync(join(folder.path, "new")).sort()).toEqual(["file", "file.txt"]);
    expect(readFileSync(path, "utf8")).toBe("second");
    expect(readFileSync(`${path}.txt`, "utf8")).toBe("third");
  });
  test("replaces a folder that is not empty", async () => {
    using folder = temporaryFolder();
    const path = join(folder.path, "model");
    await inFolder((temporary) => writeFileSync(join(temporary, "old"), ""))(path);
    await inFolder((temporary) => writeFileSync(join(temporary, "new"), ""))(path);
    expect(readdirSync(path)).toEqual(["new"]);
    expect(readdirSync(folder.path)).toEqual(["model"]);
  });
  test("brings a folder back where it cannot be replaced", async () => {
    using folder = temporaryFolder();
    const path = join(folder.path, "model");
    await inFolder((temporary) => writeFileSync(join(temporary, "old"), ""))(path);
    const { renameSync } = { ...fs };
    const spy = spyOn(fs, "renameSync").mockImplementation((from, to) => {
      if (to === path && String(from).endsWith(".tmp")) throw new Error("no more");
      renameSync(from, to);
    });
    const failing = inFolder((temporary) => writeFileSync(join(temporary, "new"), ""))(path);
    await expect(failing).rejects.toThrow("no more");
    spy.mockRestore();
    expect(readdirSync(folder.path)).toEqual(["model"]);
    expect(readdirSync(path)).toEqual(["old"]);
  });
  test("leaves nothing where it fails, and what was there as it was", async () => {
    using folder = temporaryFolder();
    const path = join(folder.path, "model");
    await inFolder((temporary) => writeFileSync(join(temporary, "old"), ""))(path);
    const failing = inFolder((temporary) => {
      writeFileSync(join(temporary, "half"), "");
      throw new Error("no more");
    });
    await expect(failing(path)).rejects.toThrow("no more");
    expect(() => writeTextAside(path, "a file where a folder is")).toThrow();
    expect(readdirSync(folder.path)).toEqual(["model"]);
    expect(readdirSync(path)).toEqual(["old"]);
  });
  const posix = process.platform !== "win32";
  test("is on the disk, with its name's folder, before and after it gets its name", async () => {
    using folder = temporaryFolder();
    const written: [string, () => unknown][] = [
      ["file", () => writeAside(join(folder.path, "file"), (temporary) => writeFileSync(temporary, "whole"))],
      ["text", () => writeTextAside(join(folder.path, "text"), "whole")],
    ];
    for (const [name, write] of written) {
      using disk = watchDisk();
      await write();
      const [synced, renamed, ...after] = disk.events;
      expect(synced).toEqual({ what: "sync", path: renamed!.path, size: 5 });
      expect(renamed).toMatchObject({ what: "rename", to: join(folder.path, name) });
      expect(after.map(({ what, path }) => `${what} ${path}`)).toEqual(posix ? [`sync ${folder.path}`] : []);
    }
  });
  test("is on the disk with every file and folder in it, where it is a folder", async () => {
    using folder = temporaryFolder();
    const path = join(folder.path, "model");
    using disk = watchDisk();
    await inFolder((temporary) => {
      writeFileSync(join(temporary, "a"), "one");
      mkdirSync(join(temporary, "inside"));
      writeFileSync(join(temporary, "inside", "b"), "four");
    })(path);
    const renamed = disk.events.findIndex(({ what }) => what === "rename");
    const { path: temporary } = disk.events[renamed]!;
    const before = disk.events.slice(0, renamed).map(({ path, size }) => [path.slice(temporary.length), size]);
    expect(before).toContainEqual(["/a", 3]);
    expect(before).toContainEqual(["/inside/b", 4]);
    if (posix) expect(before.map(([path]) => path)).toEqual(expect.arrayContaining(["", "/inside"]));
  });
  test("never meets what another call writes", async () => {
    using folder = temporaryFolder();
    const path = join(folder.path, "file");
    const names = await Promise.all(
      ["a", "b"].map((text) =>
        writeAside(path, async (temporary) => {
          await Bun.write(temporary, text);
          await Bun.sleep(1);
          expect(readFileSync(temporary, "utf8")).toBe(text);
          return temporary;
        }),
      ),
    );
    expect(names[0]).not.toBe(names[1]);
    expect(readdirSync(folder.path)).toEqual(["file"]);
  });
});

describe("what a killed process left", () => {
  const old = ".model.7-0123456789ab.old";
  const kept = (...names: readonly string[]) => {
    using folder = temporaryFolder();
    for (const name of names) {
      mkdirSync(join(folder.path, name));
      writeFileSync(join(folder.path, name, name), "");
    }
    clearRemains(folder.path);
    return readdirSync(folder.path).map((name) => [name, ...readdirSync(join(folder.path, name))]);
  };
  test("is cleared away, and what it was about to replace is brought back only where nothing is in its place", () => {
    expect(kept(old)).toEqual([["model", old]]);
    expect(kept("model", old)).toEqual([["model", "model"]]);
    expect(kept("model", ".model.7-0123456789ab.tmp")).toEqual([["model", "model"]]);
    expect(kept(".model.7.tmp")).toEqual([[".model.7.tmp", ".model.7.tmp"]]);
  });
});

test("what is damaged is kept beside what was kept before", () => {
  using folder = temporaryFolder();
  const path = join(folder.path, "x");
  const names = ["first", "second", "third"].map((content) => {
    writeFileSync(path, content);
    return keepDamaged(path);
  });
  expect(names).toEqual([`${path}.damaged`, `${path}.damaged-2`, `${path}.damaged-3`]);
  expect(names.map((name) => readFileSync(name, "utf8"))).toEqual(["first", "second", "third"]);
  expect(existsSync(path)).toBe(false);
});

describe("what a user has named", () => {
  const text = (temporary: string) => writeFileSync(temporary, "new");
  const folderOf = (temporary: string) => {
    mkdirSync(temporary);
    writeFileSync(join(temporary, "new"), "");
  };
  test("is written where nothing stands, also with a slash behind it, and nothing beside it is touched", async () => {
    using folder = temporaryFolder();
    const beside = ["keep.tmp", ".keep.tmp", "keep.part"];
    for (const name of beside) writeFileSync(join(folder.path, name), "mine");
    await writeNew(`${folder.path}/keep/`, folderOf);
    await writeNew(join(folder.path, "deep", "file"), text);
    expect(readdirSync(folder.path).sort()).toEqual([...beside, "deep", "keep"].sort());
    for (const name of beside) expect(readFileSync(join(folder.path, name), "utf8")).toBe("mine");
    expect(readdirSync(join(folder.path, "keep"))).toEqual(["new"]);
    expect(readFileSync(join(folder.path, "deep", "file"), "utf8")).toBe("new");
    expect(readdirSync(join(folder.path, "deep"))).toEqual(["file"]);
  });
  test.each([
    ["a file", (path: string) => writeFileSync(path, "mine")],
    ["a folder with something in it", (path: string) => folderOf(path)],
    ["a link to nowhere", (path: string) => symlinkSync("nowhere", path)],
  ])("is left alone where there is %s, before and meanwhile", async (_what, appear) => {
    for (const write of [text, folderOf])
      for (const before of [true, false]) {
        using folder = temporaryFolder();
        const path = join(folder.path, "x");
        if (before) appear(path);
        let mine = lstatSync(path, { throwIfNoEntry: false })?.ino;
        const written = writeNew(path, (temporary) => {
          expect(before).toBe(false);
          write(temporary);
          appear(path);
          mine = lstatSync(path).ino;
        });
        await expect(written).rejects.toThrow(/x (is there already|cannot be written)/);
        expect(readdirSync(folder.path)).toEqual(["x"]);
        expect(lstatSync(path).ino).toBe(mine!);
      }
  });
  test.skipIf(process.platform === "win32")("is on the disk before it has its name, and its name with it", async () => {
    using folder = temporaryFolder();
    for (const [write, name] of [
      [text, "file"],
      [folderOf, "folder"],
    ] as const) {
      using disk = watchDisk();
      await writeNew(join(folder.path, name), write);
      const told = disk.events.map(({ what, path }) => `${what} ${path.startsWith(`${folder.path}/.`) ? "it" : path}`);
      const named = name === "file" ? "remove it" : "rename it";
      expect(told.lastIndexOf("sync it")).toBeLessThan(told.indexOf(named));
      expect(told).toContain("sync it");
      expect(told.at(-1)).toBe(`sync ${folder.path}`);
    }
  });
  test("is written where a disk has no links, and replaces nothing there either", async () => {
    using folder = temporaryFolder();
    const spy = spyOn(fs, "linkSync").mockImplementation(() => {
      throw Object.assign(new Error("no links"), { code: "EPERM" });
    });
    const path = join(folder.path, "x");
    await writeNew(path, text);
    const other = join(folder.path, "y");
    const written = writeNew(other, (temporary) => {
      text(temporary);
      writeFileSync(other, "mine");
    });
    await expect(written).rejects.toThrow(/y is there already/);
    spy.mockRestore();
    expect(readdirSync(folder.path).sort()).toEqual(["x", "y"]);
    expect([path, other].map((name) => readFileSync(name, "utf8"))).toEqual(["new", "mine"]);
  });
  test("is a sentence where it cannot be written, and an error of ours keeps its stack", async () => {
    using folder = temporaryFolder();
    writeFileSync(join(folder.path, "file"), "");
    for (const path of ["file/x", "file/deep/x", "file/"])
      await expect(writeNew(join(folder.path, path), text)).rejects.toThrow(
        /cannot be written: a part of its path is a file/,
      );
    await expect(writeNew(join(folder.path, "n".repeat(300)), text)).rejects.toThrow(UserError);
    const ours = writeNew(join(folder.path, "y"), () => {
      throw new TypeError("ours");
    });
    await expect(ours).rejects.toThrow(TypeError);
    expect(readdirSync(folder.path)).toEqual(["file"]);
  });
});

test("a text of as many bytes as are read is read, from a file or a pipe, and one of more is refused", () => {
  using folder = temporaryFolder();
  const file = join(folder.path, "file");
  const pipe = join(folder.path, "pipe");
  Bun.spawnSync(["mkfifo", pipe]);
  for (const content of ["12345", "123456"]) {
    writeFileSync(file, content);
    const written = () => {
      Bun.spawn(["sh", "-c", `printf ${content} > ${pipe}`]);
      return pipe;
    };
    const ways = [() => file, written];
    for (const way of ways) {
      const read = () => readTextFile(way(), "it", { most: 5 });
      if (content.length === 5) expect(read()).toBe(content);
      else expect(read).toThrow("it has more than 5 bytes");
    }
  }
});

test("byte-order marks are told apart", () => {
  // https://www.unicode.org/faq/utf_bom: FF FE 00 00 is UTF-32's; behind UTF-16's may stand U+0100, as 00 01.
  expect(() => textOf(Uint8Array.of(0xff, 0xfe, 0, 0), "it")).toThrow("the byte-order mark of UTF-32");
  expect(() => textOf(Uint8Array.of(0xff, 0xfe, 0, 1), "it")).toThrow("the byte-order mark of UTF-16");
  expect(() => textOf(Uint8Array.of(0xfe, 0xff, 1, 0), "it")).toThrow("the byte-order mark of UTF-16");
  expect(() => textOf(Uint8Array.of(0xff, 0xfe), "it")).toThrow("the byte-order mark of UTF-16");
});

describe("a JSON file", () => {
  const shape = z.object({ stage: z.array(z.object({ name: z.string() })) });
  const refusal = (content: string | null) => {
    using folder = temporaryFolder();
    const path = join(folder.path, "x.json");
    if (content !== null) writeFileSync(path, content);
    try {
      readJson(path, shape, "mend it");
    } catch (error) {
      expect((error as UserError).hint).toBe("mend it");
      return (error as Error).message.replace(path, "x.json");
    }
    return "";
  };
  test("is read through its schema", () => {
    using folder = temporaryFolder();
    const path = join(folder.path, "x.json");
    writeFileSync(path, '{"stage": [{"name": "sft", "more": 1}]}');
    expect(readJson(path, shape, "")).toEqual({ stage: [{ name: "sft" }] });
    expect(readJson(path, jsonObject, "")).toEqual({ stage: [{ name: "sft", more: 1 }] });
  });
  test.each([
    [null, /^x\.json cannot be read: there is no such file$/],
    ["{", /^x\.json is not valid JSON: /],
    ['{"stage": [{"name": 1}]}', /^x\.json: stage\.0\.name: expected string, received number$/],
  ])("%p is refused with its place", (content, message) => {
    expect(refusal(content)).toMatch(message);
  });
  test("and a folder is none", () => {
    using folder = temporaryFolder();
    expect(() => readJson(folder.path, jsonObject, "")).toThrow(/cannot be read: it is a folder$/);
  });
});

test("an unknown reason is told as the system tells it", () => {
  const { message, hint } = unreadable("the text x", new Error("it is on the moon"), { hint: "fetch it" });
  expect([message, hint]).toEqual(["the text x cannot be read: it is on the moon", "fetch it"]);
});
