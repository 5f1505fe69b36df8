/** The built executable, end to end, in an empty folder: run with `bun test ./test/e2e/binary.e2e.ts` after `bun run build`. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { gzipSync } from "node:zlib";
import { whyNot } from "../../src/device/cpu/native/features";
import { fakeHub } from "../support/hub";
import { judgeServer } from "../support/judge-server";
import { readUntil } from "../support/read-until";
import { writeToy } from "../support/talking";

const folder = mkdtempSync(join(tmpdir(), "dawngrad-e2e-"));
const binary = join(folder, "dawngrad");
copyFileSync(resolve(process.platform === "win32" ? "dist/dawngrad.exe" : "dist/dawngrad"), binary);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Result {
  readonly stdout: string;
  readonly stderr: string;
  readonly code: number | null;
}

const env = { ...process.env, DAWNGRAD_CACHE: join(folder, "cache"), PATH: "/usr/bin:/bin" };

function spawn(args: readonly string[], more: Record<string, string> = {}) {
  return Bun.spawn([binary, ...args], {
    cwd: folder,
    env: { ...env, ...more },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
}

async function run(args: readonly string[], more: Record<string, string> = {}): Promise<Result> {
  const child = spawn(args, more);
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  return { stdout, stderr, code: await child.exited };
}

/** Step by step what a run's metrics say, without the speed. */
function history(name: string): unknown[] {
  const text = readFileSync(join(folder, name, "pretrain", "metrics.jsonl"), "utf8");
  return text
    .trim()
    .split("\n")
    .map((line) => ({ ...JSON.parse(line), tokens_per_second: 0 }));
}

const smoke = ["run", "configs/smoke.toml"];
const options = ["--set", "stage.0.logEvery=1", "--set", "stage.0.optim.steps=30"];

test("--version answers", async () => {
  const { stdout, stderr, code } = await run(["--version"]);
  expect([stdout, stderr, code]).toEqual(["0.1.0\n", "", 0]);
});

test("doctor finds that training would work", async () => {
  const { stdout, code } = await run(["doctor"]);
  expect(stdout).toContain("training would work here");
  expect(code).toBe(0);
});

test.if(process.platform === "linux")("without a driver, training runs on the CPU device", async () => {
  const bare = { VK_DRIVER_FILES: "/nonexistent.json", VK_ICD_FILENAMES: "/nonexistent.json" };
  const doctor = await run(["doctor"], bare);
  expect(doctor.stdout).toContain("training would work here");
  expect(doctor.stdout).toMatch(/note no WebGPU adapter that computes was found\n +hint: install a Vulkan driver/);
  expect(doctor.code).toBe(0);
  const trained = await run([...smoke, "--out", "bare"], bare);
  expect(trained.stderr).toMatch(
    /^no GPU was found: running on the CPU \(.*(?:AVX2 and FMA|WebAssembly SIMD), \d+ threads?\)$/m,
  );
  expect(trained.code).toBe(0);
  const { stderr, code } = await run(["generate", "--model", "bare", "--prompt", "x", "--device", "gpu"], bare);
  expect(stderr).toMatch(/^error: no WebGPU adapter that computes was found\nhint: --device cpu needs none/m);
  expect(code).toBe(1);
});

test("the executable's machine code and its WebAssembly train alike", async () => {
  const lossOf = async (vectors: string) => {
    const { stderr, code } = await run([...smoke, "--out", vectors, "--device", "cpu", "--vectors", vectors]);
    expect(code).toBe(0);
    return Number(stderr.match(/^pretrain: finished .*best validation loss ([\d.]+)/m)?.[1]);
  };
  const { stdout } = await run(["doctor", "--device", "cpu"]);
  expect(stdout).toContain(
    whyNot() === null ? "computes by machine code for AVX2 and FMA" : "computes by WebAssembly's vectors",
  );
  const [auto, wasm] = [await lossOf("auto"), await lossOf("wasm")];
  expect(auto).toBeGreaterThan(1);
  expect(Math.abs(auto - wasm)).toBeLessThan(2e-3);
});

test("one thread writes what all threads write", async () => {
  await run([...smoke, "--out", "threads"]);
  const write = (...more: string[]) =>
    run(["generate", "--model", "threads", "--prompt", "Once", "--device", "cpu", ...more]);
  const [all, one] = [await write(), await write("--threads", "1")];
  expect(one.code).toBe(0);
  expect(one.stdout).toBe(all.stdout);
});

test("every command has help", async () => {
  for (const command of [
    ...["fetch", "pretrain", "run", "generate", "eval", "selfcheck", "export"],
    ...["tokenizer", "inspect", "bench", "doctor"],
  ]) {
    const { stdout, code } = await run([command, "--help"]);
    expect(stdout).toContain("USAGE");
    expect(code).toBe(0);
  }
});

describe("a pipeline in an empty folder", () => {
  test("trains, keeps to stderr what is not data, and continues a prompt", async () => {
    const { stdout, stderr, code } = await run([...smoke, ...options, "--out", "whole"]);
    expect(stderr).toContain("step 30/30");
    expect(stdout).toContain("Once");
    expect(stdout).not.toContain("step");
    expect(code).toBe(0);
  });
  test("run again, it is found finished", async () => {
    const { stderr, code } = await run([...smoke, ...options, "--out", "whole"]);
    expect(stderr).not.toContain("step 1/30");
    expect(code).toBe(0);
  });
  test("its page and its curves are drawn", async () => {
    const page = await run(["report", "whole"]);
    expect(page).toMatchObject({ stdout: `${join("whole", "report.html")}\n`, stderr: "", code: 0 });
    const html = readFileSync(join(folder, "whole", "report.html"), "utf8");
    expect(html).toContain("<svg");
    expect(html).toContain("pretrain");
    const chart = await run(["plot", "whole", "--metric", "loss"]);
    expect(chart.stdout).toContain("loss");
    expect(chart.code).toBe(0);
  });
  test("the demo's config is inside, with its data", async () => {
    const { stdout, code } = await run(["run", "configs/demo.toml", "--plan"]);
    expect(stdout).toContain("stage 14: students (eval)");
    expect(code).toBe(0);
  });
  test.each(["SIGKILL", "SIGINT"] as const)(
    "cut off by %s and resumed, it repeats every later loss bit for bit",
    async (signal) => {
      const out = `cut-${signal}`;
      const child = spawn([...smoke, ...options, "--out", out]);
      await readUntil(child.stderr, /step (1[2-9]|2\d)\/30 {2}loss/);
      child.kill(signal);
      await child.exited;
      expect(child.exitCode ?? child.signalCode).toBe(signal === "SIGINT" ? 130 : "SIGKILL");
      expect(history(out).length).toBeLessThan(history("whole").length);
      const { stderr, code } = await run([...smoke, ...options, "--out", out]);
      expect(stderr).toContain("resuming after step");
      expect(code).toBe(0);
      expect(history(out)).toEqual(history("whole"));
    },
  );
  test("a folder in use by another process is refused", async () => {
    const child = spawn([...smoke, "--set", "stage.0.optim.steps=100000", "--out", "used"]);
    expect(await readUntil(child.stderr, /step 5\//)).toMatch(/step 5\//);
    const { stderr, code } = await run([...smoke, "--out", "used"]);
    expect(stderr).toContain(`is in use by process ${child.pid}`);
    expect(code).toBe(1);
    child.kill("SIGKILL");
    await child.exited;
  });
  test("another config runs again what it changes, says why, and keeps what was there", async () => {
    const { stderr, code } = await run([...smoke, "--out", "whole"]);
    expect(stderr).toMatch(
      /^pretrain: runs again: optim\.steps was 30 and is 20: it has trained 30 steps; the other is kept in whole\/pretrain@\w{8}$/m,
    );
    expect(code).toBe(0);
    const back = await run([...smoke, ...options, "--out", "whole"]);
    expect(back.stderr).toMatch(/^pretrain: its former result is brought back: optim\.steps was 20 and is 30/m);
    expect(back.stderr).not.toContain("step 1/30");
  });
  test("killed at each stage it goes on to the same bytes", async () => {
    const shapes = ["--set", "stage.0.logEvery=1", "--set", "stage.1.logEvery=1", "--set", "stage.2.logEvery=1"];
    await run([...smoke, "--out", "unbroken"]);
    for (const [name, at] of [
      ["pretrain", /pretrain {2}step 12\/20 {2}loss/],
      ["adapter", /adapter {2}step 7\/10 {2}loss/],
      ["sft", /sft {2}step 7\/10 {2}loss/],
    ] as const) {
      const child = spawn([...smoke, ...shapes, "--out", "broken"]);
      expect(await readUntil(child.stderr, at), name).toMatch(at);
      child.kill("SIGKILL");
      await child.exited;
    }
    expect((await run([...smoke, "--out", "broken"])).code).toBe(0);
    const result = (out: string) => readFileSync(join(folder, out, "sft", "step-000010", "model.safetensors"));
    expect(result("broken")).toEqual(result("unbroken"));
  });
  test("--plan fetches nothing for a released model", async () => {
    const nowhere = { HF_HOME: join(folder, "nothing"), HF_ENDPOINT: "http://127.0.0.1:1" };
    const { stdout, code } = await run(["run", "configs/alpaca.toml", "--plan"], nowhere);
    expect([code, existsSync(nowhere.HF_HOME)]).toEqual([0, false]);
    expect(stdout).toMatch(/width 768, context 1024, 124\.44M parameters[\s\S]*device memory: \d/);
  });
  test("--plan shows what would run, and runs nothing", async () => {
    const { stdout, code } = await run([...smoke, "--plan", "--out", "planned"]);
    expect(stdout).toContain("stage 1: pretrain (pretrain) <- new: to run\n  20 steps of 4 x 32 x 2 = 256 tokens");
    expect([code, existsSync(join(folder, "planned"))]).toEqual([0, false]);
  });
});

test("pretrain trains from the command line alone", async () => {
  writeFileSync(join(folder, "text.txt"), "a rose is a rose is a rose. ".repeat(100));
  const flags = [
    "--data",
    "text.txt",
    "--tokenizer",
    "character",
    "--steps",
    "4",
    "--rows",
    "2",
    "--tokens",
    "16",
    "--out",
    "flags",
  ];
  const { stderr, code } = await run(["pretrain", ...flags, "--set", "model.width=32"]);
  expect(stderr).toContain("step 4/4");
  expect(code).toBe(0);
});

test.skipIf(process.platform === "win32")("texts, records, templates and prompts come through pipes", async () => {
  writeFileSync(join(folder, "piped.txt.gz"), gzipSync("a rose is a rose is a rose. ".repeat(100)));
  writeFileSync(join(folder, "piped.jsonl"), '\ufeff{"instruction": "a rose", "output": "is"}\r\n');
  const shell = async (command: string) => {
    const child = Bun.spawn(["bash", "-c", command], {
      cwd: folder,
      env,
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    });
    const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
    return { stdout, stderr, code: await child.exited };
  };
  const train = `./dawngrad pretrain --data <(gzip -dc piped.txt.gz) --tokenizer character --steps 2 --rows 2 --tokens 16 --out piped`;
  const first = await shell(train);
  expect(first).toMatchObject({ code: 0, stderr: expect.stringContaining("step 2/2") });
  expect((await shell(train)).stderr).toContain("pretrain: finished before");
  const template = `<(printf '{%% for m in messages %%}{{ m.content }}.{%% endfor %%}')`;
  const shown = await shell(`./dawngrad data show <(cat piped.jsonl) --template ${template} --json`);
  expect(shown).toMatchObject({ code: 0, stdout: expect.stringContaining('"text":"a rose.is.') });
  const prompts = `<(printf '\\xef\\xbb\\xbf{"prompt": "a rose"}\\r\\n')`;
  const answered = await shell(`./dawngrad generate --model piped --prompts ${prompts} --max-tokens 2`);
  expect(answered).toMatchObject({ code: 0, stdout: expect.stringContaining('"prompt":"a rose"') });
});

describe("generate", () => {
  test("streams text to stdout, the same for the same seed", async () => {
    const first = await run(["generate", "--model", "whole", "--prompt", "Once", "--max-tokens", "12"]);
    const second = await run(["generate", "--model", "whole", "--prompt", "Once", "--max-tokens", "12"]);
    expect(first.stdout.startsWith("Once")).toBe(true);
    expect(first.stdout).toBe(second.stdout);
  });
  test("prints one JSON object a prompt", async () => {
    const { stdout } = await run([
      "generate",
      "--model",
      "whole",
      "--prompt",
      "Once",
      "--prompt",
      "One day in",
      "--json",
      "--temperature",
      "0",
      "--max-tokens",
      "5",
    ]);
    const lines = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(lines.map(({ prompt, tokens }) => [prompt, tokens])).toEqual([
      ["Once", 5],
      ["One day in", 5],
    ]);
  });
  test("prints the likeliest next tokens with their probabilities", async () => {
    const { stdout } = await run(["generate", "--model", "whole", "--prompt", "Once", "--top-tokens", "3"]);
    const probabilities = stdout
      .trim()
      .split("\n")
      .map((line) => Number(line.split(" ")[0]));
    expect(probabilities.length).toBe(3);
    expect(probabilities).toEqual(probabilities.toSorted((a, b) => b - a));
  });
});

test("tokenizer trains, encodes and decodes", async () => {
  expect((await run(["tokenizer", "train", "--data", "data/tales.txt", "--size", "300", "--out", "tok"])).code).toBe(0);
  const { stdout } = await run(["tokenizer", "encode", "--tokenizer", "tok", "--json", "By the mill"]);
  const ids = JSON.parse(stdout) as number[];
  expect((await run(["tokenizer", "decode", "--tokenizer", "tok", ...ids.map(String)])).stdout).toBe("By the mill\n");
});

test("inspect counts GPT-2's parameters", async () => {
  const { stdout } = await run(["inspect", "gpt2", "--json"]);
  expect(JSON.parse(stdout).parameters).toBe(124_439_808);
});

describe("a model goes out and comes back", () => {
  const write = (model: string, more: Record<string, string> = {}) =>
    run(["generate", "--model", model, "--prompt", "One day", "--max-tokens", "8", "--temperature", "0"], more);
  const perplexity = async (model: string): Promise<number> => {
    const { stdout } = await run([
      ...["eval", "perplexity", "--model", model, "--data", "text.txt", "--context", "16", "--json"],
    ]);
    return JSON.parse(stdout).perplexity;
  };

  test("exported as safetensors it writes and measures the same; as gguf it is one file", async () => {
    writeFileSync(join(folder, "text.txt"), "One day in the tower by the mill lived Pip, a grey mouse. ".repeat(5));
    expect((await run(["export", "--model", "whole", "--out", "exported"])).code).toBe(0);
    expect((await write("exported")).stdout).toBe((await write("whole")).stdout);
    expect(await perplexity("exported")).toBe(await perplexity("whole"));
    const { code } = await run([
      "export",
      "--model",
      "whole",
      "--format",
      "gguf",
      "--type",
      "q8_0",
      "--out",
      "small.gguf",
    ]);
    expect(code).toBe(0);
    expect(readFileSync(join(folder, "small.gguf")).subarray(0, 4).toString()).toBe("GGUF");
    const again = await run(["export", "--model", "whole", "--out", "exported"]);
    expect([again.code, again.stderr]).toEqual([2, expect.stringContaining("exported is there already")]);
  });

  test("fetched by its name it is used like any other, also offline", async () => {
    using hub = fakeHub("somebody/small", join(folder, "exported"));
    const there = { HF_ENDPOINT: hub.endpoint, HF_HOME: join(folder, "hf") };
    const { stdout, code } = await run(["fetch", "somebody/small"], there);
    expect([code, existsSync(join(stdout.trim(), "model.safetensors"))]).toEqual([0, true]);
    expect((await write("somebody/small", there)).stdout).toBe((await write("whole")).stdout);
    hub[Symbol.dispose]();
    expect((await write("somebody/small", { ...there, HF_HUB_OFFLINE: "1" })).stdout).toBe(
      (await write("whole")).stdout,
    );
    const missing = await run(["fetch", "somebody/other"], { ...there, HF_HUB_OFFLINE: "1" });
    expect(missing.stderr).toMatch(
      /^error: somebody\/other is not in .*, and HF_HUB_OFFLINE is set\nhint: fetch it once/m,
    );
  });

  test("a run goes on from it, with its tokenizer", async () => {
    const config = `name = "more"
[model]
from = "exported"
[[stage]]
kind = "pretrain"
data = "data/tales.txt"
validation = 0.02
batch = { rows = 2, tokens = 16 }
optim = { steps = 4, lr = 1e-4, warmup = 0 }
evaluate = { every = 2, batches = 2 }
`;
    writeFileSync(join(folder, "more.toml"), config);
    expect((await run(["run", "more.toml", "--plan"])).stdout).toContain("weights and tokenizer: exported");
    const { stderr, code } = await run(["run", "more.toml", "--out", "more"]);
    expect(code).toBe(0);
    expect(stderr).toContain("finished after step 4");
    expect((await write("more")).code).toBe(0);
  });

  test("a run from a damaged model, or one of another tokenizer, writes nothing", async () => {
    for (const [name, harm, message] of [
      [
        "torn",
        (path: string) => truncateSync(join(path, "model.safetensors"), 9000),
        /is not a whole safetensors file/,
      ],
      [
        "mixed",
        (path: string) => copyFileSync(join(folder, "tok", "tokenizer.json"), join(path, "tokenizer.json")),
        /the tokenizer has 4\d\d tokens, and the model 300/,
      ],
    ] as const) {
      cpSync(join(folder, "exported"), join(folder, name), { recursive: true });
      if (name === "mixed")
        await run(["tokenizer", "train", "--data", "data/tales.txt", "--size", "450", "--out", "tok"]);
      harm(join(folder, name));
      const { stderr, code } = await run(["run", "more.toml", "--set", `model.from=${name}`, "--out", `from-${name}`]);
      expect([code, stderr]).toEqual([1, expect.stringMatching(message)]);
      expect(existsSync(join(folder, `from-${name}`))).toBe(false);
    }
  });

  test("samples, prompt files and log-probabilities", async () => {
    writeFileSync(join(folder, "prompts.jsonl"), '{"id": 7, "prompt": "One day"}\n{"id": 8, "prompt": "Pip"}\n');
    const { stdout } = await run([
      ...[
        "generate",
        "--model",
        "exported",
        "--prompts",
        "prompts.jsonl",
        "--samples",
        "2",
        "--max-tokens",
        "3",
        "--logprobs",
      ],
    ]);
    const lines = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(lines.map(({ id, prompt }) => [id, prompt])).toEqual([
      [7, "One day"],
      [7, "One day"],
      [8, "Pip"],
      [8, "Pip"],
    ]);
    for (const { logProbs, tokens } of lines) {
      expect(logProbs.length).toBe(tokens);
      for (const { logProb } of logProbs) expect(logProb).toBeLessThanOrEqual(0);
    }
  });

  test("held in bf16 it measures nearly the same", async () => {
    const measure = ["eval", "perplexity", "--model", "exported", "--data", "text.txt", "--json"];
    const { stdout } = await run([...measure, "--storage", "bf16"]);
    const { loss } = JSON.parse(stdout);
    const wanted = JSON.parse((await run(measure)).stdout).loss;
    expect(loss).not.toBe(wanted);
    expect(Math.abs(loss - wanted)).toBeLessThan(0.02);
  });

  test("selfcheck says what it is for", async () => {
    const { stderr, code } = await run(["selfcheck", "exported"]);
    expect(stderr).toMatch(/the published figures are of gpt2's 12, 768 and 50257/);
    expect(code).toBe(1);
  });
});

test("tokenizers of words are trained, described and used", async () => {
  await run(["tokenizer", "train", "--kind", "word", "--data", "data/tales.txt", "--size", "400", "--out", "words"]);
  const { stdout } = await run(["tokenizer", "info", "--tokenizer", "words", "--data", "data/tales.txt", "--json"]);
  expect(JSON.parse(stdout)).toMatchObject({ kind: "WordLevel", size: 400, special: { "<|endoftext|>": 1 } });
  const encoded = await run(["tokenizer", "encode", "--tokenizer", "words", "--json", "By the mill."]);
  const ids = JSON.parse(encoded.stdout) as number[];
  const decoded = await run(["tokenizer", "decode", "--tokenizer", "words", ...ids.map(String)]);
  expect(decoded.stdout).toBe("By the mill.\n");
});

describe("fine-tuning", () => {
  const questions = ["--data", "data/questions-test.jsonl", "--limit", "12", "--max-tokens", "24"];
  test("every stage of a pipeline is kept, an adapter among them, and merged for the next", async () => {
    const { stderr, code } = await run([...smoke, "--out", "stages"]);
    expect(code).toBe(0);
    expect(stderr).toMatch(/adapter: step 0: loss \d/);
    expect(stderr).toMatch(
      /data\/dialogues\.jsonl \(messages, 32 samples chosen by seed\): 300 records read, 32 examples, \d+ cut/,
    );
    expect(existsSync(join(folder, "stages", "adapter", "step-000010", "adapter_model.safetensors"))).toBe(true);
    expect(existsSync(join(folder, "stages", "adapter", "merged", "model.safetensors"))).toBe(true);
    expect(existsSync(join(folder, "stages", "sft", "step-000010", "model.safetensors"))).toBe(true);
  });
  test("from the command line, by an adapter that is used, left out, and merged", async () => {
    const sft = [
      "sft",
      "--model",
      "stages/pretrain",
      "--data",
      "data/questions.jsonl",
      "--template",
      "chat",
      "--out",
      "tuned",
    ];
    const small = [
      "--tokens",
      "64",
      "--rows",
      "4",
      "--steps",
      "6",
      "--prompt",
      "Who fears bees?",
      "--set",
      "stage.0.samples.tokens=5",
    ];
    const { stderr, code } = await run([
      ...sft,
      ...small,
      "--lora",
      "--target",
      "all-linear",
      "--base",
      "nf4",
      "--lr",
      "1e-2",
    ]);
    expect(stderr).toMatch(/\| Who fears bees\? -> /);
    expect(code).toBe(0);
    const measure = async (...args: string[]) =>
      JSON.parse((await run(["eval", "answers", ...questions, "--json", ...args])).stdout);
    const adapted = await measure("--model", "tuned");
    expect(adapted).toMatchObject({ conversations: 12, answers: 12 });
    const chat = (...args: string[]) =>
      run([
        "generate",
        "--chat",
        "--temperature",
        "0",
        "--max-tokens",
        "8",
        "--prompt",
        "Where does Pip live?",
        ...args,
      ]);
    const base = await chat("--model", "tuned", "--base-only");
    expect(base.stdout).toBe((await chat("--model", "stages/pretrain", "--template", "chat")).stdout);
    const merged = await run(["merge", "--model", "tuned", "--out", "merged-model"]);
    expect(merged.stderr).toContain("merged one adapter onto the numbers that its nf4 base stands for");
    expect(Number(merged.stdout.match(/largest difference of the logits: (\S+)/)?.[1])).toBeLessThan(1e-4);
    expect((await chat("--model", "merged-model")).stdout).toBe((await chat("--model", "tuned")).stdout);
    const again = await run(["merge", "--model", "tuned", "--out", "merged-model"]);
    expect(again.stderr).toMatch(/^error: merged-model is there already\nhint: /m);
    expect(again.code).toBe(2);
  });
  test("is measured by a module that lies on the disk, and imports another one", async () => {
    writeFileSync(join(folder, "words.ts"), "export const words = (text: string): number => text.split(' ').length;\n");
    writeFileSync(
      join(folder, "rule.ts"),
      `import { words } from "./words";
      type Columns = Readonly<Record<string, string>>;
      export const score = (_: unknown, answer: string) => Math.min(1, words(answer));
      export const asked = (messages: { content: string }[], _: string, { instruction }: Columns) =>
        messages.at(-1)?.content === instruction ? 1 : 0;`,
    );
    const measure = ["eval", "rule", "--model", "stages/sft", "--data", "data/rule-test.jsonl", "--max-tokens", "4"];
    const more = ["--limit", "4", "--temperature", "1", "--samples", "2", "--by", "kind", "--out", "scored.jsonl"];
    const { stdout, stderr, code } = await run([...measure, "--rule", "rule.ts", ...more, "--json"]);
    expect([code, stderr]).toEqual([0, expect.not.stringContaining("not read")]);
    const { means, groups } = JSON.parse(stdout);
    expect(means).toMatchObject({ score: { mean: 1, count: 8 }, asked: { mean: 1, count: 8 } });
    expect(Object.keys(groups)).toContain("wording");
    expect(readFileSync(join(folder, "scored.jsonl"), "utf8").trimEnd().split("\n")).toHaveLength(8);
    const passed = ["--temperature", "1", "--samples", "2", "--limit", "2", "--pass-at", "1,2", "--json"];
    const { pass_at: rates } = JSON.parse((await run([...measure, "--rule", "rule.ts", ...passed])).stdout);
    expect(rates["2"]).toMatchObject({ value: 1 });
    writeFileSync(join(folder, "rule.ts"), "export const judge = () => 1;");
    const refused = await run([...measure, "--rule", "rule.ts"]);
    expect([refused.code, refused.stderr]).toEqual([
      1,
      expect.stringMatching(/^error: rule\.ts has no function score: it has judge\nhint: .+\n$/),
    ]);
  });
  test("is asked which of several texts may follow another", async () => {
    const records = [
      { context: "One day", choices: ["in the tower", "by the mill"], gold: 0 },
      { query: "Pip was", choices: ["a grey mouse", "x"], answer: "x" },
    ];
    writeFileSync(join(folder, "mine.jsonl"), records.map((record) => `${JSON.stringify(record)}\n`).join(""));
    const choose = ["eval", "choice", "--model", "stages/sft", "--data", "mine.jsonl"];
    const { stdout, code } = await run([...choose, "--task", "choice", "--json", "--out", "chosen.jsonl"]);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ task: "choice", records: 2 });
    expect(Object.keys(JSON.parse(stdout).metrics)).toEqual(["acc", "acc_norm", "acc_bytes"]);
    expect(readFileSync(join(folder, "chosen.jsonl"), "utf8").trimEnd().split("\n")).toHaveLength(2);
    const refused = await run([...choose, "--task", "arc"]);
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining("mine.jsonl:1 is no record of arc")]);
  });
  test("from an adapter goes on from it merged, which the run keeps", async () => {
    const train = ["sft", "--model", "tuned", "--data", "data/questions.jsonl", "--tokens", "64", "--rows", "4"];
    const more = [...train, "--lora", "--rank", "2", "--steps", "2", "--out", "tuned-more"];
    const { stderr, code } = await run(more);
    expect(stderr).toMatch(/^tuned is an adapter: training goes on from it as merged into tuned-more\/base$/m);
    expect(code).toBe(0);
    expect(readFileSync(join(folder, "tuned-more/base/model.safetensors"))).toEqual(
      readFileSync(join(folder, "merged-model/model.safetensors")),
    );
    const { base_model_name_or_path: base } = JSON.parse(
      readFileSync(join(folder, "tuned-more/sft/step-000002/adapter_config.json"), "utf8"),
    );
    expect(base).toBe("../../base");
    expect((await run(more)).stderr).not.toMatch(/is an adapter/);
    writeFileSync(
      join(folder, "plan.toml"),
      '[model]\nfrom = "tuned"\n[[stage]]\nkind = "sft"\ndata = "data/general.jsonl"\n',
    );
    expect((await run(["run", "plan.toml", "--plan"])).stdout).toContain("weights and tokenizer: tuned");
    const whole = await run([...train, "--steps", "1", "--out", "tuned-whole"]);
    expect([whole.code, whole.stderr]).toEqual([0, expect.stringContaining("finished after step 1")]);
  });
  test("data are shown as the model sees them", async () => {
    const show = (...args: string[]) =>
      run(["data", "show", "data/questions.jsonl", "--model", "stages/pretrain", "--count", "1", ...args]);
    const { stdout, stderr } = await show("--template", "chat");
    expect(stdout).toMatch(
      /^-- data\/questions\.jsonl:1: \d+ tokens, \d+ trained\nUser: What is Pip\?\nAssistant:« Pip is a mouse\.<\|endoftext\|>»\n$/,
    );
    expect(stderr).toMatch(/format alpaca: 1712 records read, 1712 examples$/m);
    const alone = await run(["data", "show", "data/questions.jsonl", "--count", "1", "--template", "instruction"]);
    expect(alone.stdout).toMatch(
      /: 61 bytes, 16 trained\n### Instruction:\nWhat is Pip\?\n\n### Response:\n«Pip is a mouse\.<\|endoftext\|>»\n$/,
    );
    const { ids, trained } = JSON.parse((await show("--json")).stdout);
    expect(ids.length).toBe(trained.length);
    expect((await show("--ids", "--template", "chat")).stdout).toMatch(/\n\* +\d+ {2}"<\|endoftext\|>"\n$/);
  });
  test("interrupted, an adapter's run goes on to what it would have been", async () => {
    const args = [
      "run",
      "configs/smoke.toml",
      "--set",
      "stage.1.optim.steps=60",
      "--set",
      "stage.1.logEvery=1",
      "--set",
      "stage.1.lora.base=f32",
    ];
    await run([...args, "--out", "one"]);
    const child = spawn([...args, "--out", "two"]);
    await readUntil(child.stderr, /adapter {2}step 7\/60/);
    child.kill("SIGINT");
    expect([130, 0]).toContain(await child.exited);
    expect((await run([...args, "--out", "two"])).code).toBe(0);
    const weights = (name: string) =>
      readFileSync(join(folder, name, "adapter", "step-000060", "adapter_model.safetensors"));
    expect(weights("two")).toEqual(weights("one"));
    const lines = (name: string) =>
      readFileSync(join(folder, name, "adapter", "metrics.jsonl"), "utf8")
        .trim()
        .split("\n")
        .map((line) => ({ ...JSON.parse(line), tokens_per_second: 0 }));
    expect(lines("two")).toEqual(lines("one"));
  });
  test("bad data and bad settings get one sentence", async () => {
    const refused = async (args: readonly string[], message: RegExp) => {
      const { stderr, code } = await run(args);
      expect(stderr).toMatch(message);
      expect(stderr).not.toMatch(/\n {4}at /);
      expect([1, 2]).toContain(code!);
    };
    writeFileSync(join(folder, "broken.json"), '[\n{"instruction": "a", "output": "b"},\n{"instruction" "a"}\n]');
    writeFileSync(join(folder, "misspelt.jsonl"), '{"instructoin": "a", "output": "b"}\n');
    writeFileSync(
      join(folder, "short.jsonl"),
      '{"instruction": "a", "output": "b"}\n{"instruction": "a", "output": ""}\n',
    );
    const sft = (data: string, ...more: string[]) => withTokens("64", data, ...more);
    const withTokens = (tokens: string, data: string, ...more: string[]) => [
      "sft",
      "--model",
      "stages/pretrain",
      "--out",
      "bad",
      "--steps",
      "1",
      "--tokens",
      tokens,
      "--data",
      data,
      ...more,
    ];
    await refused(sft("broken.json"), /^error: broken\.json:3: broken JSON: .*\nhint: /m);
    await refused(
      sft("misspelt.jsonl"),
      /^error: misspelt\.jsonl:1 has the fields instructoin, output, which is no known format\nhint: did you mean instruction\?$/m,
    );
    await refused(sft("short.jsonl", "--strict"), /^error: short\.jsonl:2: the response of turn 2 is empty$/m);
    await refused(sft("short.jsonl", "--template", "chat"), /^error: one record cannot be split$/m);
    await refused(sft("nothing.jsonl"), /^error: nothing\.jsonl cannot be read: there is no such file$/m);
    await refused(
      sft("data/questions.jsonl", "--lora", "--target", "attention"),
      /^error: lora\.targets names no layer: attention$/m,
    );
    await refused(
      sft("data/questions.jsonl", "--template", "mine.jinja"),
      /^error: there is no chat template mine\.jinja$/m,
    );
    await refused(
      withTokens("4000", "data/questions.jsonl"),
      /^error: batch\.tokens is 4000, and the model's context is 64$/m,
    );
    await refused(
      ["generate", "--model", "stages/pretrain", "--prompt", "a", "--adapter", "stages/sft"],
      /^error: stages\/sft is not an adapter$/m,
    );
    await refused(
      ["export", "--model", "tuned", "--out", "x"],
      /is an adapter, which has no weights of its own\nhint: make a whole model by `dawngrad merge`/m,
    );
    await refused(
      sft("data/questions.jsonl", "--lora", "--base", "nf3"),
      /^error: Invalid value for argument: --base \(nf3\)\. Expected one of: f32, bf16/m,
    );
    await refused(["merge", "--model", "stages/pretrain", "--out", "x"], /has no adapter to merge$/m);
  });
});

describe("bad input gets one sentence, a hint and an exit code", () => {
  const damaged = (name: string, harm: (path: string) => void) => {
    const from = JSON.parse(readFileSync(join(folder, "whole/pretrain/checkpoints.json"), "utf8")).latest as string;
    mkdirSync(join(folder, name));
    for (const file of ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]) {
      copyFileSync(join(folder, "whole/pretrain", from, file), join(folder, name, file));
    }
    harm(join(folder, name));
  };
  const cases: [string, string[], RegExp, number, ((path: string) => void)?][] = [
    ["no such command", ["trian"], /there is no command trian/, 2],
    ["a misspelt option", ["generate", "--modle", "x"], /there is no option --modle/, 2],
    ["an option without its value", ["generate", "--model"], /--model needs a value/, 2],
    [
      "a number that is none",
      ["pretrain", "--data", "x", "--steps", "many"],
      /--steps is "many", expected a number/,
      2,
    ],
    [
      "a missing corpus",
      ["pretrain", "--data", "missing.txt", "--out", "bad1"],
      /missing\.txt cannot be read: there is no such file/,
      1,
    ],
    [
      "a corpus shorter than the context",
      ["pretrain", "--data", "short.txt", "--tokenizer", "character", "--out", "bad2"],
      /fewer than one row of 128/,
      1,
    ],
    ["an unknown preset", ["pretrain", "--data", "text.txt", "--preset", "huge"], /model\.preset/, 2],
    [
      "a batch longer than the context",
      ["pretrain", "--data", "text.txt", "--tokens", "999", "--out", "bad3"],
      /batch\.tokens is 999, and the model's context is 128/,
      2,
    ],
    ["an unwritable run folder", ["pretrain", "--data", "text.txt", "--out", "text.txt/run"], /cannot be written/, 1],
    ["no such model", ["generate", "--model", "nowhere", "--prompt", "x"], /no model at nowhere/, 1],
    [
      "no adapter of that name",
      ["generate", "--model", "whole", "--prompt", "x", "--device", "abacus"],
      /no adapter fits --device abacus/,
      2,
    ],
    [
      "more threads than cores",
      ["generate", "--model", "whole", "--prompt", "x", "--threads", "5000"],
      /--threads 5000: this machine runs \d+ at a time\nhint: give a number from 1 to/,
      2,
    ],
    [
      "threads for an adapter",
      ["generate", "--model", "whole", "--prompt", "x", "--threads", "2", "--device", "gpu"],
      /--threads is for the CPU device/,
      2,
    ],
    [
      "vectors against an adapter's",
      ["bench", "--against", "wasm", "--device", "software"],
      /--against is for the CPU device\nhint: give --device cpu/,
      2,
    ],
    [
      "a measurement that is not there",
      ["bench", "--device", "cpu", "--only", "abacus"],
      /--only "abacus": nothing that is measured has this in its name\nhint: names are such as "matmul/,
      2,
    ],
    ["no such model on the Hub", ["fetch", "../x"], /\.\.\/x is not a model's name/, 2],
    [
      "a config with two sources of a model",
      ["run", "configs/gpt2-shakespeare.toml", "--set", "model.layers=3"],
      /model\.from brings a model's own sizes and tokenizer, and the config has model\.layers too/,
      2,
    ],
    [
      "a prompt file that is none",
      ["generate", "--model", "whole", "--prompts", "text.txt"],
      /text\.txt:1: expected an object with a prompt/,
      2,
    ],
    [
      "a token that is none",
      ["generate", "--model", "whole", "--prompt", "x", "--logit-bias", "99999=1"],
      /99999 is not a token id/,
      2,
    ],
    [
      "a stride past the context",
      ["eval", "perplexity", "--model", "whole", "--data", "text.txt", "--stride", "500"],
      /--stride is 500, expected a whole number from 1 to 64/,
      2,
    ],
    [
      "a temperature out of range",
      ["generate", "--model", "whole", "--prompt", "x", "--temperature", "-1"],
      /temperature/,
      2,
    ],
    [
      "a prompt longer than the context",
      ["generate", "--model", "whole", "--prompt", "x ".repeat(200)],
      /the model's context is 64/,
      1,
    ],
    [
      "truncated weights",
      ["generate", "--model", "d1", "--prompt", "x"],
      /model\.safetensors is not a whole safetensors file/,
      1,
      (d) => truncateSync(`${d}/model.safetensors`, 5000),
    ],
    [
      "a header of absurd size",
      ["generate", "--model", "d2", "--prompt", "x"],
      /its header claims/,
      1,
      (d) => writeFileSync(`${d}/model.safetensors`, new Uint8Array(64).fill(255)),
    ],
    [
      "a corrupt tokenizer",
      ["generate", "--model", "d3", "--prompt", "x"],
      /tokenizer\.json is not valid JSON/,
      1,
      (d) => truncateSync(`${d}/tokenizer.json`, 99),
    ],
    [
      "a model of another shape",
      ["generate", "--model", "d4", "--prompt", "x"],
      /expected \[300,64\]/,
      1,
      (d) =>
        writeFileSync(
          `${d}/config.json`,
          readFileSync(`${d}/config.json`, "utf8").replace('"n_embd": 32', '"n_embd": 64'),
        ),
    ],
    [
      "another kind of model",
      ["inspect", "d5"],
      /model_type is "llama"/,
      1,
      (d) => writeFileSync(`${d}/config.json`, '{"model_type": "llama"}'),
    ],
  ];
  writeFileSync(join(folder, "short.txt"), "too short");
  // A callback with fewer parameters than a case has values gets no `done` from bun:test.
  test.each(cases)("%s", async (...given) => {
    const [, args, message, code, harm] = given;
    const victim = args.find((word) => /^d\d$/.test(word));
    if (victim) damaged(victim, harm!);
    const result = await run(args);
    expect(result.stderr).toMatch(message);
    expect(result.stderr).toMatch(/^error: /m);
    expect(result.stderr).not.toMatch(/^\s+at /m);
    expect(result.code).toBe(code);
  });
});

describe("preferences", () => {
  const few = ["--steps", "4", "--rows", "2", "--tokens", "64", "--validation", "none", "--device", "cpu"];
  const pairs = ["--data", "data/preferences-general.jsonl"];
  const last = ({ stderr }: Result) => stderr.trimEnd().split("\n").slice(-2).join("\n");

  test("align a model, by every command", async () => {
    await run(["run", "configs/smoke.toml", "--out", "base", "--device", "cpu"]);
    const ways: [string, string[]][] = [
      ["dpo", ["--loss", "sigmoid+sft"]],
      ["kto", []],
      ["orpo", []],
      ["cpo", ["--loss", "simpo"]],
    ];
    for (const [way, more] of ways) {
      const trained = await run([way, "--model", "base", ...pairs, ...few, ...more, "--out", way]);
      expect([way, trained.code, last(trained)]).toEqual([way, 0, expect.stringContaining("finished after step 4")]);
    }
    const answered = await run(["generate", "--model", "dpo", "--chat", "--prompt", "Hello.", "--device", "cpu"]);
    expect(answered.code).toBe(0);
  });

  test("train a reward model that scores, and is no policy", async () => {
    const adapter = ["--lora", "--set", "stage.0.normalise.samples=8", "--set", "stage.0.normalise.tokens=4"];
    const trained = await run(["reward", "--model", "base", ...pairs, ...few, ...adapter, "--out", "rewards"]);
    expect(trained.stderr).toContain("reward: step 0: loss ");
    const scored = await run(["score", "--model", "rewards", ...pairs, "--out", "scores.jsonl", "--device", "cpu"]);
    expect(scored.stdout).toMatch(/174 scores, [\d.]+ x raw [+-] [\d.]+: mean .*\nthe chosen one is higher +\d/);
    expect(readFileSync(join(folder, "scores.jsonl"), "utf8").trim().split("\n")).toHaveLength(87);
    const refusals: [string[], string][] = [
      [["generate", "--model", "rewards", "--prompt", "a"], "is a reward model"],
      [["score", "--model", "base", ...pairs], "has no scalar head"],
      [["eval", "answers", "--model", "rewards", "--data", "data/questions-test.jsonl"], "is a reward model"],
      [["sft", "--model", "rewards", "--data", "data/questions.jsonl", "--out", "none"], "is a reward model"],
      [
        ["reward", "--model", "base", ...pairs, "--lora", "--target", "head", "--out", "none"],
        "names the language head",
      ],
      [["dpo", "--model", "rewards", ...pairs, ...few, "--out", "none"], "is a reward model"],
      [["dpo", "--model", "base", ...pairs, "--loss", "hinge", "--smoothing", "0.1"], "is not used by hinge"],
      [["kto", "--model", "base", ...pairs, "--rows", "1"], "a step of one answer"],
      [["dpo", "--model", "base", "--data", "data/questions.jsonl"], "says of no answer that it is better"],
    ];
    for (const [args, sentence] of refusals) {
      const refused = await run(args);
      expect(refused.stderr).toContain(sentence);
      expect(refused.stderr).not.toContain("    at ");
      expect(refused.code).not.toBe(0);
    }
  });
});

describe("talking", () => {
  const device = ["--device", "cpu"];

  test("chat finds the model, answers lines of a pipe, keeps the talk and goes on with it", async () => {
    await run(["run", "configs/smoke.toml", "--out", "runs/talk", ...device]);
    const state = join(folder, "state");
    const talk = (lines: string, ...more: string[]) => {
      const child = Bun.spawn([binary, "chat", ...device, "--seed", "1", "--max-tokens", "6", ...more], {
        cwd: folder,
        env: { ...env, XDG_STATE_HOME: state },
        stdin: new Blob([lines]),
        stdout: "pipe",
        stderr: "pipe",
      });
      return Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
    };
    const [said, told, code] = await talk("Hello.\n/nothing\n/memory\n/quit\n");
    expect(code).toBe(0);
    expect(told).toContain("under runs/");
    expect(told).toContain("/nothing");
    expect(told).not.toMatch(/^\s+at /m);
    const [, again] = await talk("/memory\n", "--continue");
    expect(again).toContain("Hello.");
    if (said.trim()) expect(again).toContain(said.trim().split("\n")[0]!);
  });

  test("serve answers a chat, has its page, and ends in order", async () => {
    const child = spawn(["serve", "--model", "runs/talk", "--port", "0", ...device]);
    const address = /page to chat at (\S+)\/;/.exec(await readUntil(child.stderr, /slots of/))![1]!;
    expect(await (await fetch(`${address}/health`)).json()).toEqual({ status: "ok" });
    expect(await (await fetch(address)).text()).toContain("<!doctype html>");
    const body = JSON.stringify({ messages: [{ role: "user", content: "Hello." }], max_tokens: 4, seed: 1 });
    const answer = await fetch(`${address}/v1/chat/completions`, { method: "POST", body });
    expect(await answer.json()).toMatchObject({ object: "chat.completion", choices: [{ index: 0 }] });
    child.kill("SIGTERM");
    expect(await child.exited).toBe(0);
  });
});

describe("rewards", () => {
  const few = ["--steps", "2", "--validation", "none", "--device", "cpu"];
  const small = ["--prompts", "4", "--samples", "2", "--answer", "6", "--rows", "8"];

  test("are a module from the disk, a rule and an endpoint, for every method", async () => {
    await run(["run", "configs/smoke.toml", "--out", "writer", "--device", "cpu"]);
    writeFileSync(
      join(folder, "prompts.jsonl"),
      ["a", "b", "c", "d"].map((c) => `{"prompt":"Once ${c}","answer":"x"}\n`).join(""),
    );
    writeFileSync(join(folder, "long.ts"), "export const long = (text: string): number => text.length;");
    writeFileSync(
      join(folder, "judge.ts"),
      "import { long } from './long';\nexport default async (prompts, completions: string[]) => completions.map(long);",
    );
    using server = Bun.serve({
      port: 0,
      fetch: async (request) =>
        Response.json({
          rewards: ((await request.json()) as { completions: string[] }).completions.map((c) => c.length % 3),
        }),
    });
    const ways: [string, string[]][] = [
      ["grpo", ["--reward", "judge.ts", "--reward", "repetition:2", "--weight", "1", "--weight", "0.5"]],
      ["rloo", ["--reward", `http://localhost:${server.port}/`]],
      ["ppo", ["--reward", "exact", "--reward", "judge.ts", "--passes", "2"]],
    ];
    for (const [way, more] of ways) {
      const trained = await run([
        way,
        "--model",
        "writer",
        "--data",
        "prompts.jsonl",
        ...few,
        ...small,
        ...more,
        "--out",
        way,
      ]);
      expect([way, trained.code, trained.stderr]).toEqual([way, 0, expect.stringContaining("finished after step 2")]);
    }
    const measured = await run([
      "eval",
      "rule",
      "--model",
      "grpo",
      "--data",
      "prompts.jsonl",
      "--rule",
      "judge.ts",
      "--device",
      "cpu",
    ]);
    expect(measured.stdout).toContain("4 answers, greedy");
  });

  test("that fail stop the run with their input shown", async () => {
    writeFileSync(join(folder, "broken.ts"), "export const score = () => { throw new Error('no luck') }");
    writeFileSync(join(folder, "hanging.ts"), "export const score = () => { for (;;); }");
    const refusals: [string[], string][] = [
      [["--reward", "broken.ts"], "threw: no luck"],
      [["--reward", "hanging.ts", "--timeout", "1"], "has not answered after"],
      [["--reward", "http://localhost:9/"], "cannot be reached"],
      [["--reward", "exact", "--samples", "1"], "a group of one answer"],
      [["--reward", "writer"], "is no reward model"],
    ];
    for (const [args, sentence] of refusals) {
      const refused = await run([
        "grpo",
        "--model",
        "writer",
        "--data",
        "prompts.jsonl",
        ...few,
        "--answer",
        "6",
        "--out",
        "none",
        ...args,
      ]);
      expect(refused.stderr).toContain(sentence);
      expect(refused.stderr).not.toContain("    at ");
      expect(refused.code).not.toBe(0);
    }
  });
});

describe("two models", () => {
  const data = ["--data", "judged.jsonl", "--device", "cpu", "--max-tokens", "8"];
  beforeAll(async () => {
    await writeToy(join(folder, "toys/one"));
    await writeToy(join(folder, "toys/other"), { seed: 8 });
    const rows = ["Why?", "Who?", "When?"].map((prompt) => ({ messages: [{ role: "user", content: prompt }] }));
    writeFileSync(join(folder, "judged.jsonl"), rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  });
  test("are judged by a server of OpenAI's API, and a second time by what it said", async () => {
    using server = judgeServer({ reply: () => "[[A]]", trouble: (n) => (n === 1 ? "failing" : null) });
    const judge = ["eval", "judge", "--a", "toys/one", "--b", "toys/other", "--judge", "j", ...data, "--json"];
    const key = { OPENAI_BASE_URL: server.url, OPENAI_API_KEY: "secret" };
    const { stdout, stderr, code } = await run(judge, key);
    expect(code, stderr).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ pairs: 3, ties: 3, win_rate: 50, agreement: 0, verdicts: 6 });
    expect(server.requests).toHaveLength(7);
    const again = await run(judge, key);
    expect(again.stderr).toContain("0 requests to j for 3 pairs (6 verdicts need none)");
    expect(JSON.parse(again.stdout)).toEqual(JSON.parse(stdout));
    expect(server.requests).toHaveLength(7);
  });
  test("are compared by a rule", async () => {
    const compare = ["eval", "compare", "toys/one", "toys/one", ...data, "--rule", "length:4", "--json"];
    const { stdout, stderr, code } = await run(compare);
    expect(code, stderr).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ prompts: 3, equal: 3, scores: { score: { win_rate: 50 } } });
  });
});
