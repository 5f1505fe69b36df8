/**
 * Whatever stands in a file or on the command line, it is used or refused by one sentence: never a TypeError, a RangeError or any other
 * error that the command line would call a bug.
 */
import { afterAll, describe, expect, test } from "bun:test";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { adoptedFiles } from "../src/app/adopt";
import { checkConfig, readConfigFile } from "../src/app/config-file";
import { graphOf, resultOf } from "../src/app/graph";
import { hasher } from "../src/app/hasher";
import { modelDirectory } from "../src/app/model";
import { mendFolders, readStageFile, seenIn } from "../src/app/stage-file";
import { readPrompts } from "../src/cli/prompts";
import { encodeSamples } from "../src/data/examples";
import { reportLines } from "../src/data/report";
import { loadSamples } from "../src/data/samples";
import { UserError } from "../src/errors";
import { checkModel } from "../src/formats/checkpoint";
import { openAdapter } from "../src/formats/peft";
import { openSafetensors } from "../src/formats/safetensors";
import { openWeights } from "../src/formats/weights-files";
import { modelOf } from "../src/model/model";
import { trainBpe } from "../src/text/bpe";
import { trainCharacters } from "../src/text/characters";
import { builtIn, chatTemplate } from "../src/text/template";
import { loadTokenizer, tokenizerFrom } from "../src/text/tokenizer";
import { trainWords } from "../src/text/words";
import { mendIndex, readIndex } from "../src/train/checkpoints";
import { readTraining } from "../src/train/training-file";
import { silent } from "./support/console";
import { changedJson, changedText } from "./support/hostile";

const root = mkdtempSync(join(tmpdir(), "dawngrad-fuzz-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** FUZZ=20 tries twenty times as many. */
const more = Number(process.env.FUZZ ?? 1);

/** Tries `runs` inputs, the same ones each time. Some must be used and some refused, else they would show nothing. */
async function fuzz<T>(input: fc.Arbitrary<T>, runs: number, ...uses: ((input: T) => unknown)[]): Promise<void> {
  const counts = { used: 0, refused: 0 };
  const usedOrRefused = async (given: T) => {
    for (const use of uses) {
      try {
        await use(given);
        counts.used++;
      } catch (error) {
        if (!(error instanceof UserError)) throw error;
        expect(error.message).not.toContain("[object Object]");
        counts.refused++;
      }
    }
  };
  await fc.assert(fc.asyncProperty(input, usedOrRefused), { seed: 12, numRuns: Math.round(runs * more) });
  expect(Math.min(counts.used, counts.refused)).toBeGreaterThan(0.01 * runs * more);
}

/** An empty folder of that name. */
function folderOf(name: string): string {
  const path = join(root, name);
  rmSync(path, { recursive: true, force: true });
  mkdirSync(path);
  return path;
}

function fileOf(name: string, content: string): string {
  const path = join(root, name);
  writeFileSync(path, content);
  return path;
}

const said = "what is it? it is a fox, said the dog. <|endoftext|>";
const tokenizer = tokenizerFrom(trainBpe([said], { size: 270 }));
const template = chatTemplate(builtIn.chat!, tokenizer);
const trees = { paths: "all", lang: "", quality: 0 } as const;

describe("records", () => {
  const turns = [
    { role: "system", content: "be short" },
    { role: "user", content: "what is it?" },
    { role: "assistant", content: "a fox", weight: 1 },
  ];
  const reply = (text: string, role: string, replies: object[]) => ({
    ...{ message_id: text, parent_id: "m", text, role, lang: "en", rank: 0, deleted: false, review_result: true },
    ...{ labels: { quality: { value: 0.5, count: 2 } }, emojis: { "+1": 1 }, replies },
  });
  const valid = [
    { messages: turns, tools: [] },
    {
      conversations: [
        { from: "human", value: "what?" },
        { from: "gpt", value: "a fox" },
      ],
    },
    { instruction: "say", input: "fox", output: "fox", system: "be short", history: [["a", "b"]] },
    { prompt: "what is it?", completion: "a fox" },
    { prompt: turns.slice(0, 2), completion: turns.slice(2) },
    { question: "what is it?", answer: "a fox" },
    { prompt: "what is it?", chosen: "a fox", rejected: "a dog" },
    { text: "it is a fox" },
    { message_tree_id: "m", tree_state: "ready", prompt: reply("m", "prompter", [reply("a", "assistant", [])]) },
    { message_id: "m", parent_id: null, text: "what?", role: "prompter", lang: "en", rank: null, deleted: false },
  ];
  const use = async (path: string, strict = false) => {
    const loaded = await loadSamples(path, { trees, strict });
    const { report } = encodeSamples(loaded, {
      tokenizer,
      template,
      tokens: 32,
      cut: strict ? "ended" : "open",
      strict,
    });
    reportLines(report, path);
  };
  const lists = valid.map((record) => [record, { ...record }]);
  test("in JSON and JSON Lines", async () => {
    await fuzz(
      changedJson(...lists),
      400,
      (text) => use(fileOf("x.json", text)),
      (text) => use(fileOf("x.json", text), true),
    );
    await fuzz(fc.array(changedJson(...valid), { minLength: 1, maxLength: 3 }), 300, (lines) =>
      use(fileOf("x.jsonl", lines.join("\n"))),
    );
    await fuzz(
      changedText(
        lists.map((list) => JSON.stringify(list)),
        ["[", "]", "{", "}", '"', "\\", ",", "\n"],
      ),
      200,
      (text) => use(fileOf("x.json", text)),
    );
  });
  test("in tables", async () => {
    const cell = fc.oneof(
      fc.constantFrom('"', '""', '"a', "a,b", "\n", "\r", '[{"role": "user", "content": 1}]', "[]", "{}", "__proto__"),
      fc.string({ maxLength: 6 }),
      changedJson(...valid).map((text) => `"${text.slice(0, 500).replaceAll('"', '""')}"`),
    );
    const headers = [
      ...[
        ["prompt", "completion"],
        ["messages"],
        ["text"],
        ["instruction", "output", "input"],
        ["role", "text", "parent_id", "message_id"],
      ],
      ...[
        ["prompt", "prompt"],
        ["__proto__", "text"],
        ["", ""],
        ["conversations", "constructor"],
      ],
    ];
    const table = fc.tuple(
      fc.constantFrom(...headers),
      fc.array(fc.array(cell, { minLength: 1, maxLength: 4 }), { maxLength: 3 }),
      fc.constantFrom("\n", "\r\n", "\r"),
      fc.constantFrom([",", "csv"], [";", "csv"], ["\t", "tsv"]),
    );
    await fuzz(table, 400, ([header, rows, end, [mark, ending]]) =>
      use(fileOf(`x.${ending}`, [header, ...rows].map((row) => row.join(mark)).join(end))),
    );
  });
  test("as prompts", async () => {
    const line = changedJson({ prompt: "what is it?", id: 1, more: [{}] });
    await fuzz(line, 100, (text) => readPrompts(fileOf("prompts.jsonl", `{"prompt": "what?"}\r\n\n${text}`)));
  });
});

test("templates", async () => {
  const pieces = [
    ...[
      "{{",
      "}}",
      "{%",
      "%}",
      "{% if",
      "{% endif %}",
      "{% endfor %}",
      "{% generation %}",
      "{% endgeneration %}",
      "-",
      "|",
    ],
    ...[
      "{{ messages[0].content.a.b }}",
      "{{ messages.constructor.name }}",
      "{{ x() }}",
      "{{ messages[0]['__proto__'] }}",
    ],
    ...[
      "{{ raise_exception('no') }}",
      "{{ strftime_now('%Y') }}",
      "{{ 'a' * 3 }}",
      "{{ none.x }}",
      "{{ messages | tojson }}",
    ],
    ...["{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "{% for i in range(1e9) %}{% endfor %}", "{{ range(1e9) }}"],
    ...[
      "{% set ns = namespace(a=1) %}{% set ns.a.b = 2 %}",
      "{{ messages | sort(attribute='x') | first }}",
      "{{ 1 / 0 }}",
    ],
    ...[
      "{{ messages[-5:9:0] }}",
      "{{ 'a'.split(none) }}",
      "{% for a, b in messages %}{{ a }}{% endfor %}",
      "{{ [] | max }}",
    ],
  ];
  const saved = Object.values(JSON.parse(readFileSync("test/golden/templates.json", "utf8"))).flatMap((value) =>
    typeof value === "string" ? [value] : [],
  );
  await fuzz(changedText([...Object.values(builtIn), ...saved], pieces), 400, (source) => {
    const made = chatTemplate(source, tokenizer);
    made.encode([
      { role: "user", content: "what?" },
      { role: "assistant", content: "a fox" },
    ]);
    made.prompt([{ role: "user", content: "what?" }]);
  });
});

describe("tokenizers' files", () => {
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, use_regex: true };
  const bare = { version: "1.0", added_tokens: [], normalizer: null, post_processor: null };
  const valid = [
    trainBpe([said], { size: 270 }).tokenizer,
    trainCharacters([said]).tokenizer,
    trainWords([said], { size: 20 }).tokenizer,
    {
      ...bare,
      normalizer: { type: "BertNormalizer", lowercase: true, strip_accents: null, clean_text: true },
      pre_tokenizer: { type: "BertPreTokenizer" },
      decoder: { type: "WordPiece", prefix: "##", cleanup: true },
      model: {
        type: "WordPiece",
        unk_token: "[UNK]",
        continuing_subword_prefix: "##",
        max_input_chars_per_word: 9,
        vocab: { "[UNK]": 0, it: 1, "##s": 2 },
      },
    },
    {
      ...bare,
      normalizer: {
        type: "Sequence",
        normalizers: [{ type: "NFC" }, { type: "Replace", pattern: { String: "a" }, content: "b" }],
      },
      pre_tokenizer: {
        type: "Sequence",
        pretokenizers: [{ type: "Metaspace", replacement: "▁", prepend_scheme: "always" }, byteLevel],
      },
      decoder: {
        type: "Sequence",
        decoders: [{ type: "ByteFallback" }, { type: "Fuse" }, { type: "Metaspace", replacement: "▁" }],
      },
      model: {
        type: "Unigram",
        unk_id: 0,
        vocab: [
          ["<unk>", 0],
          ["▁it", -1],
          ["s", -2],
        ],
      },
    },
  ];
  const config = {
    ...trainBpe([said], { size: 270 }).config,
    chat_template: [{ name: "default", template: "{{ messages }}" }],
  };
  const use = async (folder: string) => {
    const loaded = await loadTokenizer(folder);
    const ids = loaded.encode(said);
    loaded.encode(said, { special: true });
    loaded.decode(ids);
    loaded.token(0);
  };
  test("tokenizer.json", async () => {
    const folder = folderOf("tokenizer");
    await fuzz(changedJson(...valid), 500, (text) => {
      writeFileSync(join(folder, "tokenizer.json"), text);
      return use(folder);
    });
  });
  test("and those beside it", async () => {
    const folder = folderOf("beside");
    writeFileSync(join(folder, "tokenizer.json"), JSON.stringify(valid[0]));
    const token = { content: "<|x|>", lstrip: false, normalized: false, special: true };
    const files = {
      "tokenizer_config.json": config,
      "special_tokens_map.json": { eos_token: token, additional_special_tokens: ["<|y|>", token] },
      "added_tokens.json": { "<|x|>": 270, "<|y|>": 271 },
    };
    for (const [name, value] of Object.entries(files)) {
      await fuzz(changedJson(value), 60, (text) => {
        writeFileSync(join(folder, name), text);
        return use(folder);
      });
      writeFileSync(join(folder, name), JSON.stringify(value));
    }
  });
  test("vocab.json and merges.txt", async () => {
    const folder = folderOf("older");
    const { vocab, merges } = valid[0]!.model as { vocab: Record<string, number>; merges: string[] };
    const given = fc.tuple(changedJson(vocab), changedText([merges.join("\n")], ["\n", " ", "\r\n", "#version", "\0"]));
    await fuzz(given, 150, ([vocabulary, lines]) => {
      writeFileSync(join(folder, "vocab.json"), vocabulary);
      writeFileSync(join(folder, "merges.txt"), lines);
      return use(folder);
    });
  });
});

describe("configs", () => {
  const configs = readdirSync("configs").filter((name) => name.endsWith(".toml"));
  const texts = configs.map((name) => readFileSync(join("configs", name), "utf8"));
  const parsed = texts.map((text) => Bun.TOML.parse(text));
  test("as values", async () => {
    await fuzz(changedJson(...parsed), 500, (text) => {
      const config = checkConfig(JSON.parse(text));
      graphOf(config);
      resultOf(config);
    });
  });
  test("as text", async () => {
    const pieces = [
      "[",
      "]",
      "[[stage]]",
      "=",
      '"',
      "\n",
      "__proto__ = 1\n",
      "stage = 1\n",
      "[constructor]\n",
      "#",
      "'''",
    ];
    await fuzz(changedText(texts, pieces), 200, (text) => readConfigFile(fileOf("x.toml", text)));
  });
  test("with overrides", async () => {
    const key = fc.constantFrom(
      ...[
        "stage",
        "0",
        "-1",
        "1",
        "99",
        "optim",
        "lr",
        "model",
        "tokenizer",
        "data",
        "name",
        "kind",
        "lora",
        "targets",
        "seed",
      ],
      ...["", "__proto__", "constructor", "toString", "length", "1e3", "*"],
    );
    const real = fc.constantFrom(
      "seed",
      "name",
      "stage.0.optim.lr",
      "stage.0.optim.steps",
      "stage.1.lora.targets",
      "stage.0.samples.prompts",
    );
    const path = fc.oneof(
      real,
      fc.array(key, { minLength: 1, maxLength: 5 }).map((keys) => keys.join(".")),
    );
    const value = fc.oneof(
      fc.constantFrom("1", "-1", "1e999", "nan", "true", "x", "", "[1", "[]", "{a=1}", '"', "=", "null", "1\n[x]\ny=1"),
      fc.string({ maxLength: 8 }),
    );
    const fine = fc.constantFrom("seed=3", "name=x", "stage.0.optim.lr=1e-4", 'stage.0.samples.prompts=["a"]');
    const override = fc.oneof(
      fine,
      fc.tuple(path, value).map((pair) => pair.join("=")),
      path,
    );
    await fuzz(fc.array(override, { minLength: 1, maxLength: 2 }), 400, (overrides) =>
      readConfigFile("configs/demo.toml", overrides),
    );
  });
});

describe("the state of a run", () => {
  const best = { step: 4, score: -2, values: { validation_loss: 2 } };
  const training = {
    step: 4,
    best,
    worse: 0,
    evaluated: 4,
    tokens: 9,
    seconds: 1,
    fingerprints: { data: "x" },
    state: [1],
  };
  const index = { latest: "step-000004", best: "step-000004", finished: true };
  const made = { program: "0.1.0", device: "cpu", began: "x", finished: "y" };
  const stage = {
    state: "finished",
    key: "k",
    parts: { seed: "1" },
    output: "o",
    made,
    seen: { x: { size: 1, mtimeMs: 2, hash: "h" } },
  };
  const run = checkConfig(Bun.TOML.parse(readFileSync("configs/demo.toml", "utf8")));
  const files: [string, unknown][] = [
    ["pretrain/step-000004/training.json", training],
    ["pretrain/checkpoints.json", index],
    ["pretrain/stage.json", stage],
    ["run.json", run],
  ];
  test("in any of its files", async () => {
    const folder = folderOf("run");
    const [stageFolder, checkpoint] = [join(folder, "pretrain"), join(folder, "pretrain", "step-000004")];
    mkdirSync(checkpoint, { recursive: true });
    const readers = [
      () => readTraining(checkpoint),
      () => readIndex(stageFolder),
      () => modelDirectory(stageFolder),
      () => modelDirectory(folder),
      () => readStageFile(stageFolder),
      () => seenIn(folder),
      () => adoptedFiles(folder, { console: silent, hasher: hasher({}) }),
      () => mendIndex(stageFolder, () => {}),
      () => mendFolders(folder, silent),
    ];
    const place = ([name, text]: readonly [string, string]) => {
      for (const [other, value] of files)
        writeFileSync(join(folder, other), other === name ? text : JSON.stringify(value));
    };
    const clear = () => {
      for (const kept of readdirSync(stageFolder)) if (kept.includes("damaged")) rmSync(join(stageFolder, kept));
    };
    const given = fc.oneof(...files.map(([name, valid]) => changedJson(valid).map((text) => [name, text] as const)));
    await fuzz(given, 250, place, ...readers, clear);
  });
});

describe("a model's files", () => {
  const base = "test/golden/layouts/transformers";
  const readJson = (path: string) => JSON.parse(readFileSync(path, "utf8"));
  test("config.json", async () => {
    const folder = folderOf("model");
    cpSync(base, folder, { recursive: true });
    await fuzz(changedJson(readJson(join(base, "config.json"))), 300, (text) => {
      writeFileSync(join(folder, "config.json"), text);
      return checkModel(folder);
    });
  });
  test("the header of safetensors", async () => {
    const bytes = readFileSync(join(base, "model.safetensors"));
    const length = Number(bytes.readBigUInt64LE(0));
    const header = JSON.parse(bytes.subarray(8, 8 + length).toString());
    const few = Object.fromEntries(Object.entries(header).slice(0, 4));
    await fuzz(changedJson(header, few, { ...few, __metadata__: { format: "pt" } }), 300, (text) => {
      const json = Buffer.from(text);
      const size = Buffer.alloc(8);
      size.writeBigUInt64LE(BigInt(json.length));
      const path = join(root, "x.safetensors");
      writeFileSync(path, Buffer.concat([size, json, bytes.subarray(8 + length)]));
      using file = openSafetensors(path);
      for (const info of file.tensors.values())
        file.read(info, new Float32Array(info.shape.reduce((a, b) => a * b, 1)));
    });
  });
  test("model.safetensors.index.json", async () => {
    const sharded = "test/golden/layouts/sharded";
    const folder = folderOf("sharded");
    cpSync(sharded, folder, { recursive: true });
    const name = "model.safetensors.index.json";
    await fuzz(changedJson(readJson(join(sharded, name))), 150, (text) => {
      writeFileSync(join(folder, name), text);
      using _files = openWeights(folder);
    });
  });
  test("adapter_config.json", async () => {
    const lora = "test/golden/peft/lora";
    const folder = folderOf("adapter");
    cpSync(lora, folder, { recursive: true });
    const model = modelOf((await checkModel(base)).config);
    await fuzz(changedJson(readJson(join(lora, "adapter_config.json"))), 300, (text) => {
      writeFileSync(join(folder, "adapter_config.json"), text);
      using _adapter = openAdapter(folder, model);
    });
  });
});
