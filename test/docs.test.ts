/** What the pages say is there: links, paths, commands with their options, configs, and a page for every kind of stage. */
import { beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { ArgsDef } from "citty";
import { checkConfig } from "../src/app/config-file";
import { suiteSchema } from "../src/app/suite";
import { commandAt } from "../src/cli";
import { readWords } from "../src/cli/words";
import { stageSchema } from "../src/stages";

const pages = [
  "README.md",
  "CONTRIBUTING.md",
  "CHANGELOG.md",
  "data/README.md",
  ...new Bun.Glob("docs/**/*.md").scanSync(),
];
const text = new Map(pages.map((page) => [page, readFileSync(page, "utf8")]));

/** Fenced blocks, and the page without them. */
function blocksOf(page: string): {
  readonly blocks: readonly (readonly [info: string, body: string])[];
  readonly prose: string;
} {
  const blocks: [string, string][] = [];
  const prose = text.get(page)!.replace(/^```(.*)\n([\s\S]*?)^```$/gm, (_, info: string, body: string) => {
    blocks.push([info.trim(), body]);
    return "";
  });
  return { blocks, prose };
}

/** A page's heading as the anchor that links to it have. */
const anchorOf = (heading: string) =>
  heading
    .toLowerCase()
    .replace(/[^\w\s-]/g, "")
    .trim()
    .replace(/\s/g, "-");

describe.each(pages)("%s", (page) => {
  const { blocks, prose } = blocksOf(page);
  test("has links that lead somewhere", () => {
    for (const [, link = ""] of prose.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(link)) continue;
      const [path = "", anchor] = link.split("#");
      const file = path === "" ? page : join(dirname(page), path);
      expect(existsSync(file), `${link}`).toBe(true);
      if (anchor === undefined) continue;
      const headings = [...readFileSync(file, "utf8").matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) =>
        anchorOf(heading),
      );
      expect(headings, link).toContain(anchor);
    }
  });
  test("names files that are there", () => {
    for (const [, path = ""] of prose.matchAll(/`((?:src|kernels|configs|data|test|scripts|docs)\/[\w./-]+)`/g))
      expect(existsSync(path) || existsSync(join("src", path)), path).toBe(true);
  });
  test("has configs that the schemas take", () => {
    for (const [info, body] of blocks.filter(([info]) => info.startsWith("toml"))) {
      const given = Bun.TOML.parse(body) as Record<string, unknown>;
      if ("eval" in given) suiteSchema.parse(given);
      else checkConfig({ name: "page", ...given, stage: [...before(given.stage), ...(given.stage as object[])] });
      expect(info).toBe("toml");
    }
  });
  test("has commands and options that are there", async () => {
    for (const line of commandsIn(page)) {
      const words = wordsOf(line);
      const { command, rest } = await commandAt(words);
      if (command.subCommands) {
        expect(
          rest.filter((word) => word !== "--help"),
          line,
        ).toEqual([]);
        continue;
      }
      try {
        readWords((command.args ?? {}) as ArgsDef, rest);
      } catch (error) {
        throw new Error(`${line}: ${(error as Error).message}`);
      }
    }
    // Where a command is only spoken of, its options are those of a command all the same.
    for (const [, said = ""] of prose.matchAll(/`(dawngrad(?: [^`]*)?)`/g)) {
      const { command, rest } = await commandAt(wordsOf(said.replaceAll("...", "").trim()));
      const options = Object.keys(command.args ?? {});
      for (const word of rest.filter((word) => word.startsWith("--") && !["--help", "--version"].includes(word)))
        expect(options, said).toContain(word.slice(2).split("=")[0]!);
    }
  });
});

/** Stages that a part of a config may go on from, and does not have itself. */
function before(stages: unknown): object[] {
  const own = (stages as { kind: string; name?: string }[]).map(({ kind, name = kind }) => name);
  return [
    { kind: "pretrain", data: "text.txt", optim: { steps: 10 } },
    { kind: "sft", data: "questions.jsonl" },
    { kind: "reward", data: "pairs.jsonl" },
    { kind: "sft", name: "sums", data: "sums.jsonl" },
  ].filter(({ kind, name = kind }) => !own.includes(name));
}

/** Commands in blocks: behind "$ ", or where a block has no such line, its lines. What is left out in a line (...) is not read. */
function commandsIn(page: string): string[] {
  return blocksOf(page).blocks.flatMap(([, body]) => {
    const pattern = /^\$ /m.test(body) ? /^\$ (?:.*\| )?(dawngrad(?: .*)?)$/ : /^(dawngrad(?: .*)?)$/;
    return body.split("\n").flatMap((line) => {
      const [, command = "..."] = pattern.exec(line) ?? [];
      return command.includes("...") ? [] : [command.replace(/\s+#.*$/, "")];
    });
  });
}

/** Words as a shell would have them, without the program's name; up to what the shell takes for itself. */
function wordsOf(line: string): string[] {
  const found = [...line.matchAll(/"([^"]*)"|'([^']*)'|((?:[^\s"']|(?<==)"[^"]*")+)/g)].map(
    ([, double, single, bare]) => double ?? single ?? bare!,
  );
  const end = found.findIndex((word) => ["|", "&&", ">", "2>"].includes(word));
  return found.slice(1, end < 0 ? undefined : end);
}

describe("every kind of stage", () => {
  const index = text.get("docs/methods/README.md")!;
  test.each(stageSchema.options.map(({ shape }) => shape.kind.value))(
    "%s has a page, and a row in the README",
    (kind) => {
      const pageOf: Readonly<Record<string, string>> = {
        pretrain: "pretraining.md",
        distill: "../distillation.md",
        quantize: "../quantisation.md",
        eval: "../evaluation.md",
      };
      if (kind === "merge") expect(index).toContain('`kind = "merge"`');
      else expect(index).toContain(`(${pageOf[kind] ?? `${kind}.md`})`);
      expect(text.get("README.md")).toMatch(new RegExp(`^\\| .*\\b${kind}\\b.* \\|`, "m"));
    },
  );
});

let help = "";
beforeAll(() => {
  help = Bun.spawnSync([process.execPath, "src/main.ts", "--help"]).stdout.toString();
});
test("every command has a row in the README", () => {
  const names = [...help.matchAll(/^ +(\w+) {2,}\S/gm)].map(([, name]) => name!);
  expect(names.length).toBeGreaterThan(25);
  const missing = names.filter(
    (name) => !new RegExp(`^\\| [^|]*\`${name}\\b[^|]*\\|`, "m").test(text.get("README.md")!),
  );
  expect(missing).toEqual([]);
});
