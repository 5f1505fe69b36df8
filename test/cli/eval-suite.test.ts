/** `dawngrad eval SUITE.toml`: the table, what is kept, what fails beside the rest, and what is refused in one sentence. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readSuite } from "../../src/app/suite";
import golden from "../golden/choice.json";
import { temporaryFolder } from "../support/folder";

const folder = temporaryFolder();
afterAll(() => folder[Symbol.dispose]());
const at = (name: string) => join(folder.path, name);
const main = join(process.cwd(), "src/main.ts");
const MODEL = join(process.cwd(), "test/golden/choice");

async function dawngrad(...words: string[]) {
  const child = Bun.spawn([process.execPath, main, "eval", ...words], {
    cwd: folder.path,
    env: { ...process.env, DAWNGRAD_CACHE: at("cache") },
    stdin: "ignore",
    stderr: "pipe",
  });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  return { stdout, stderr, code: await child.exited };
}

const measured = (...words: string[]) => dawngrad(...words, "--device", "cpu");
const lines = (rows: readonly object[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join("");
const kept = (out = "results.json") => JSON.parse(readFileSync(at(out), "utf8"));
/** What was measured, and what was kept, by the notes. */
const told = (stderr: string) => stderr.match(/^.+ of \S+: (?:measured|kept)/gm) ?? [];

const suite = `
models = ["one", "two"]
[[eval]]
kind = "perplexity"
data = "text.txt"
context = 16
[[eval]]
kind = "choice"
task = "blimp"
data = "blimp"
[[eval]]
name = "by letters"
kind = "rule"
rule = "rule.ts"
data = "questions.jsonl"
temperature = 1
samples = 4
passAt = [1, 4]
maxTokens = 5
[[eval]]
kind = "rule"
rule = "length:3"
data = "questions.jsonl"
maxTokens = 5
model = "one"
[[eval]]
kind = "compare"
against = "one"
rule = "rule.ts"
data = "questions.jsonl"
maxTokens = 5
`;

beforeAll(() => {
  mkdirSync(at("blimp"));
  for (const [name, { rows }] of Object.entries(golden.tasks.blimp)) writeFileSync(at(`blimp/${name}`), lines(rows));
  writeFileSync(at("text.txt"), "The ferry left at nine. ".repeat(12));
  writeFileSync(at("questions.jsonl"), lines([1, 2, 3].map((n) => ({ prompt: `The ferry ${n}`, completion: "left" }))));
  writeFileSync(at("rule.ts"), "export const score = (_, answer) => answer.length % 2;");
  writeFileSync(at("suite.toml"), suite);
  for (const name of ["one", "two"]) cpSync(MODEL, at(name), { recursive: true });
  // Another epsilon, another model.
  const config = JSON.parse(readFileSync(at("two/config.json"), "utf8"));
  writeFileSync(at("two/config.json"), JSON.stringify({ ...config, layer_norm_epsilon: 0.1 }));
});

describe("a suite", () => {
  test("has a row for each figure and a column for each model; each figure is that of its own command", async () => {
    const { stdout, stderr, code } = await measured("suite.toml");
    expect(code).toBe(0);
    const [head, ...rows] = stdout.split("\n");
    expect(head).toMatch(/^ +one +two$/);
    const of = (name: string) => rows.find((row) => row.includes(`  ${name}  `))!;
    expect(of("perplexity")).toMatch(/^perplexity +perplexity +[\d.]+ ± [\d.]+ +[\d.]+ ± [\d.]+$/);
    expect(of("agreement: acc")).toMatch(/^ +agreement: acc +0.0% ± 0.0% +/);
    expect(of("acc")).toMatch(/^choice +acc +37.5% ± 12.5% +/);
    expect(of("pass@4")).toMatch(/^ +pass@4 +[01]\.\d{4} ± /);
    // A model against itself.
    expect(of("wins by score")).toMatch(/^compare +wins by score +50.0% ± 0.0% +[\d.]+% ± [\d.]+%$/);
    // An entry may have a model of its own.
    expect(rows.find((row) => row.startsWith("rule "))).toMatch(/^rule +score +\S+ \(\S+ to \S+\)$/);
    expect(stdout).toContain(
      "\nperplexity: text.txt; sliding window of 16 tokens, stride 8\n" +
        "choice: blimp; log-likelihood of the whole continuation, as lm-evaluation-harness 0.4.13 computes it, no examples before; the mean of 2 files\n" +
        "by letters: questions.jsonl; sampled at temperature 1, seed 1337\n" +
        "rule: questions.jsonl; greedy\n" +
        "compare: questions.jsonl; against one, greedy\n" +
        "±: standard error; in brackets: 95%\n",
    );
    // Model by model, so that each is opened once.
    expect(told(stderr).map((line) => line.replace(/.* of /, ""))).toEqual([
      ...Array(5).fill("one: measured"),
      ...Array(4).fill("two: measured"),
    ]);
    const { results, config } = kept();
    expect(config.eval[2]).toMatchObject({ name: "by letters", limit: 0, seed: 1337, rule: "rule.ts" });
    expect(results.map(({ name, model }: { name: string; model: string }) => `${name} ${model}`)).toEqual(
      ["perplexity", "choice", "by letters", "rule", "compare"].flatMap((name) =>
        name === "rule" ? ["rule one"] : [`${name} one`, `${name} two`],
      ),
    );
    const alone = ["--model", "two", "--data", "text.txt", "--context", "16", "--json"];
    expect(results[1].figures).toEqual(JSON.parse((await measured("perplexity", ...alone)).stdout));
    const sides = ["two", "one", "--rule", "rule.ts", "--data", "questions.jsonl", "--max-tokens", "5", "--json"];
    const { method, ...compared } = results.at(-1).figures;
    expect([method, compared]).toEqual([
      "against one, greedy",
      JSON.parse((await measured("compare", ...sides)).stdout),
    ]);
    expect(results[0].figures.loss).not.toBe(results[1].figures.loss);
  });

  test("measures again only what has changed: the data, the settings, the model; the rest is kept", async () => {
    const before = kept();
    const again = await measured("suite.toml");
    expect(new Set(told(again.stderr).map((line) => line.replace(/.*: /, "")))).toEqual(new Set(["kept"]));
    expect(kept().results).toEqual(before.results);
    writeFileSync(at("text.txt"), "The ferry left at ten. ".repeat(12));
    writeFileSync(at("suite.toml"), suite.replace("passAt = [1, 4]", "passAt = [2]"));
    const changed = await measured("suite.toml");
    const anew = (stderr: string) => [...stderr.matchAll(/^(.+): measured/gm)].map(([, title]) => title!);
    expect(anew(changed.stderr)).toEqual([
      "perplexity of one",
      "by letters of one",
      "perplexity of two",
      "by letters of two",
    ]);
    // A model's folder may be called otherwise, and nothing that was measured before is lost.
    writeFileSync(at("text.txt"), "The ferry left at nine. ".repeat(12));
    writeFileSync(at("suite.toml"), suite);
    cpSync(at("one"), at("three"), { recursive: true });
    const back = await measured("suite.toml", "--model", "three", "--model", "two");
    expect([back.code, anew(back.stderr)]).toEqual([0, []]);
    expect(back.stdout).toMatch(/^ +three +two +one\n/);
    const weights = readFileSync(at("three/model.safetensors"));
    weights[weights.length - 1]! ^= 1;
    writeFileSync(at("three/model.safetensors"), weights);
    // A model of two names is measured once.
    const other = await measured("suite.toml", "--model", "three", "--model", "./three");
    expect(anew(other.stderr)).toEqual([
      "perplexity of three",
      "choice of three",
      "by letters of three",
      "compare of three",
    ]);
  });

  test("tells an entry that fails apart, keeps the others, and ends with code 1", async () => {
    writeFileSync(
      at("failing.toml"),
      `
[[eval]]
kind = "answers"
data = "nowhere.jsonl"
[[eval]]
kind = "answers"
data = "text.txt"
[[eval]]
kind = "perplexity"
data = "text.txt"
context = 65
[[eval]]
kind = "perplexity"
data = "text.txt"
[[eval]]
kind = "perplexity"
data = "text.txt"
model = "gone"
[[eval]]
kind = "best-of"
data = "questions.jsonl"
reward = "one"
`,
    );
    const { stdout, code } = await measured("failing.toml", "--model", "one", "--out", "failing.json");
    expect(code).toBe(1);
    expect(stdout).toMatch(/^perplexity-2 +perplexity +\S+ ± \S+$/m);
    expect(stdout.slice(stdout.indexOf("\nnot measured:"))).toBe(
      [
        "",
        "not measured:",
        "  answers of one: nowhere.jsonl cannot be read: there is no such file",
        "  answers-2 of one: text.txt has no conversation: its records are text",
        "  perplexity of one: context is 65, and the model's context is 64",
        "  perplexity-3 of gone: no model at gone",
        "  best-of of one: one has no scalar head: it is no reward model",
        "",
      ].join("\n"),
    );
    const { results, failures } = kept("failing.json");
    expect([results.length, failures.length]).toEqual([1, 5]);
    expect(failures[0]).toEqual({
      name: "answers",
      kind: "answers",
      model: "one",
      error: "nowhere.jsonl cannot be read: there is no such file",
    });
  });

  test("prints one JSON object with --json", async () => {
    const { stdout } = await measured("suite.toml", "--model", "two", "--json");
    const { results, failures } = JSON.parse(stdout);
    expect([results.length, failures]).toEqual([5, []]);
  });
});

describe("refused in one sentence is", () => {
  const one = '[[eval]]\nkind = "answers"\ndata = "questions.jsonl"\n';
  test.each<[string, string, string]>([
    ["a misspelt key", `${one}limt = 3\n`, "s.toml:4: eval[0].limt: unknown key; did you mean limit?"],
    [
      "a misspelt kind",
      one.replace("answers", "anwsers"),
      "s.toml:2: eval[0].kind: expected perplexity, answers, rule, choice, best-of or compare; did you mean answers?",
    ],
    ["a key of another kind", `${one}passAt = [1]\n`, "s.toml:4: eval[0].passAt: unknown key"],
    [
      "two of one name",
      `${one}name = "q"\n${one}name = "q"\n`,
      "s.toml:8: eval[1].name: another is named q too; give each its own name",
    ],
    [
      "samples that are all the same",
      '[[eval]]\nkind = "rule"\nrule = "exact"\ndata = "x"\nsamples = 2\n',
      "s.toml:5: eval[0].samples: 2 answers are all the same at temperature 0",
    ],
    [
      "a k above the samples",
      '[[eval]]\nkind = "rule"\nrule = "exact"\ndata = "x"\npassAt = [3]\n',
      "s.toml:5: eval[0].passAt: 3 wants 3 answers of each question, and samples is 1",
    ],
    [
      "a comparison by nothing",
      '[[eval]]\nkind = "compare"\nagainst = "one"\ndata = "x"\n',
      "s.toml:1: eval[0].reward: nothing says which answer is better: give reward, rule, or both",
    ],
    [
      "a model and several",
      `model = "a"\nmodels = ["b"]\n${one}`,
      "s.toml:2: models: model names one too; give one of both",
    ],
    ["no model", one, "eval[0]: there is no model to measure"],
    ["nothing to measure", 'model = "one"\n', "s.toml: eval: expected array, received undefined"],
    ["what is no TOML", '[[eval]\nkind = "answers"\n', "s.toml is not valid TOML: "],
    [
      "a config of stages",
      '[[stage]]\nkind = "merge"\nmodels = ["a"]\n',
      "s.toml is a config of stages, and no suite of measurements",
    ],
  ])("%s", async (_, text, says) => {
    writeFileSync(at("s.toml"), text);
    const { stdout, stderr, code } = await measured("s.toml", "--out", "refused.json");
    expect({ stdout, code, there: existsSync(at("refused.json")) }).toEqual({ stdout: "", code: 2, there: false });
    expect(stderr).toStartWith(`error: ${says}`);
    expect(stderr).toMatch(/^error: .+\n(hint: .+\n)?$/);
  });
  test("a file of results that is another's, which stays as it is", async () => {
    writeFileSync(at("mine.json"), '{"mine":1}');
    const { stderr, code } = await measured("suite.toml", "--out", "mine.json");
    expect(code).toBe(2);
    expect(stderr).toStartWith("error: mine.json is there, and is no file of results: config");
    expect(readFileSync(at("mine.json"), "utf8")).toBe('{"mine":1}');
  });
  test("a suite that is not there", async () => {
    const { stderr, code } = await measured("none.toml");
    expect(code).toBe(2);
    expect(stderr).toStartWith(
      "error: the suite none.toml cannot be read: there is no such file\nhint: inside the program is configs/evaluation.toml",
    );
  });
});

test("the shipped suite can be read, and all its data are there", async () => {
  const { eval: entries } = await readSuite("configs/evaluation.toml");
  expect(entries.filter(({ data }) => !existsSync(data))).toEqual([]);
});
