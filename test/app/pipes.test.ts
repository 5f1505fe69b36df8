/** Data that come through a pipe, and several files: a run from them is the run from files of the same contents. */
import { expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { checkConfig } from "../../src/app/config-file";
import { runPipeline } from "../../src/app/pipeline";
import { device } from "../support/device";
import { temporaryFolder } from "../support/folder";

const text = "the cat sat up on the mat, a cat.\n".repeat(60);
const records = Array.from(
  { length: 6 },
  (_, i) => `${JSON.stringify({ instruction: "the cat", output: `sat ${"on ".repeat(i)}` })}\n`,
).join("");

const template =
  "{% for m in messages %}{{ m.role[:1] }} {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}a {% endif %}";

/** A text, then answers, from these files; gives what was told and both results' hashes. */
async function run(directory: string, data: string | string[], answers: string, jinja: string) {
  const each = { batch: { rows: 2, tokens: 16 }, evaluate: { every: 1, batches: 1 } };
  const config = checkConfig({
    name: "pipes",
    model: { layers: 1, heads: 1, width: 16, context: 64 },
    tokenizer: { kind: "character" },
    stage: [
      { ...each, kind: "pretrain", data, optim: { steps: 1, warmup: 0 } },
      {
        ...each,
        kind: "sft",
        data: answers,
        template: jinja,
        validation: 0.5,
        batch: { rows: 2, tokens: 64 },
        optim: { steps: 1, warmup: 0 },
      },
    ],
  });
  const notes: string[] = [];
  await runPipeline(config, {
    device: device("cpu"),
    directory,
    console: { colour: false, note: (line) => notes.push(line), status() {}, done() {} },
    signal: new AbortController().signal,
    write() {},
  });
  const outputs = ["tokenizer", "pretrain", "sft"].map(
    (name) => JSON.parse(readFileSync(join(directory, name, "stage.json"), "utf8")).output as string,
  );
  return { notes, outputs };
}

test("text, records and a template through pipes, each read once", async () => {
  using folder = temporaryFolder();
  const at = (name: string) => join(folder.path, name);
  const contents = { "text.txt": text, "records.jsonl": records, "template.jinja": template };
  for (const [name, content] of Object.entries(contents)) writeFileSync(at(name), content);
  const pipes = Object.keys(contents).map((name) => {
    const pipe = at(`pipe-${name}`);
    Bun.spawnSync(["mkfifo", pipe]);
    // To a second reader nobody would write.
    Bun.spawn(["sh", "-c", 'cat "$0" > "$1"', at(name), pipe], { timeout: 10_000 });
    return pipe;
  });
  const [data, answers, jinja] = Object.keys(contents).map(at);
  const files = await run(at("a"), data!, answers!, jinja!);
  const piped = await run(at("b"), pipes[0]!, pipes[1]!, pipes[2]!);
  expect(piped.outputs).toEqual(files.outputs);
  const stage = JSON.parse(readFileSync(at("b/pretrain/stage.json"), "utf8"));
  expect(Object.keys(stage.seen).filter((path) => path.includes("pipe-"))).toEqual([]);
  // The pipes' contents are known, and are those of the files.
  expect((await run(at("a"), pipes[0]!, pipes[1]!, pipes[2]!)).notes).toEqual([
    "pretrain: finished before",
    "sft: finished before",
  ]);
});

test("several files are one text with an end token between", async () => {
  using folder = temporaryFolder();
  const at = (name: string) => join(folder.path, name);
  writeFileSync(at("1.txt"), text);
  writeFileSync(at("2.txt"), `${text}${text}`);
  writeFileSync(at("both.txt"), `${text}<|endoftext|>${text}${text}`);
  writeFileSync(at("records.jsonl"), records);
  writeFileSync(at("template.jinja"), template);
  const [one, several] = [
    await run(at("a"), at("both.txt"), at("records.jsonl"), at("template.jinja")),
    await run(at("b"), [at("1.txt"), at("2.txt")], at("records.jsonl"), at("template.jinja")),
  ];
  expect(several.outputs).toEqual(one.outputs);
});
