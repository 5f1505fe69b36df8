/**
 * Whether llama.cpp reads our GGUF files as we do: a small model is trained, exported in every type and given to npm's node-llama-cpp, which must
 * tokenise ten texts to the same ids and write the same 40 greedy tokens. Its 700 MB are installed into a temporary folder; a folder that is
 * given as the argument is kept, and used again. What is found belongs into docs/log.md.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { exportGguf } from "../src/app/export";
import { modelDirectory, openModel } from "../src/app/model";
import { openDevice } from "../src/device/open";
import { ggufTypes } from "../src/formats/gguf";
import { sampling } from "../src/generate/sampling";
import { greedy, type LlamaModel, openLlama } from "./node-llama-cpp";

const TOKENS = 40;
const prompt = "Once upon a time";
const texts = [
  "Once upon a time there was a fox.",
  "  two spaces,\ttabs and\n\nempty lines \n at ends  ",
  "It's they'll we've I'd you're 'tis, IT'S and John's",
  "1234567890 3.14159 1,000,000 x2 2x ²³ ½ ٣٤٥",
  "naïve café — “quoted” … ‘single’",
  "Привет, мир! Γειά σου Κόσμε. שלום עולם",
  "日本語のテキスト、한국어 텍스트。",
  "emoji 👩‍👩‍👧‍👦 🇳🇴 👍🏽 and e\u0301 combining",
  "code: for (let i = 0; i < 10; i++) { a[i] += b_c ** 2; } // \\n",
  "<|endoftext|> as plain text, and\r\nline ends of Windows\u00a0\u2003wide\u0085next",
];

const given = process.argv[2];
const folder = given === undefined ? mkdtempSync(join(tmpdir(), "dawngrad-llama-")) : resolve(given);
try {
  const differences = await compare(folder);
  console.log(differences.length ? differences.join("\n") : "llama.cpp reads and writes the same");
  process.exitCode = differences.length ? 1 : 0;
} finally {
  if (given === undefined) rmSync(folder, { recursive: true, force: true });
}

async function compare(folder: string): Promise<string[]> {
  const llama = await openLlama(folder);
  const directory = modelDirectory(train(folder));
  using device = openDevice("cpu");
  using opened = await openModel(device, directory);
  const { tokenizer, engine } = opened;
  const ids = tokenizer.encode(prompt);
  const options = sampling.parse({ temperature: 0, maxTokens: TOKENS });
  const ours = [...engine.generate([ids], options)].map(([id]) => id!);

  const differences: string[] = [];
  for (const type of ggufTypes) {
    const path = join(folder, `micro-${type}.gguf`);
    rmSync(path, { force: true });
    await exportGguf(directory, path, type);
    const model = await llama.loadModel({ modelPath: path });
    for (const text of texts) {
      const [mine, theirs] = [tokenizer.encode(text), model.tokenize(text, false)];
      if (mine.join() !== theirs.join())
        differences.push(`${type}: ${JSON.stringify(text)}: ${mine} here, ${theirs} there`);
    }
    const [end] = model.tokenize("<|endoftext|>", true);
    if (end !== tokenizer.endOfText || model.tokens.eos !== end) differences.push(`${type}: the end is ${end} there`);
    const theirs = await written(model, ids);
    const same = theirs.findIndex((id, i) => id !== ours[i]);
    const alike = same < 0 ? theirs.length : same;
    console.log(
      `${type}: ${texts.length} texts, ${alike} of ${TOKENS} greedy tokens alike: ${JSON.stringify(tokenizer.decode(theirs))}`,
    );
    // Rounded weights are another model, which may write otherwise in time.
    if (type === "f32" && alike < TOKENS) differences.push(`f32: ${ours} here, ${theirs} there`);
    await model.dispose();
  }
  await llama.dispose();
  return differences;
}

async function written(model: LlamaModel, ids: readonly number[]): Promise<number[]> {
  const float = "F32";
  const context = await model.createContext({
    contextSize: 128,
    threads: 1,
    flashAttention: false,
    experimentalKvCacheKeyType: float,
    experimentalKvCacheValueType: float,
  });
  const found = await greedy(context.getSequence(), ids, TOKENS);
  await context.dispose();
  return found;
}

/** A micro model after a minute of training. Returns its run. */
function train(folder: string): string {
  const out = join(folder, "run");
  const [main, data] = ["src/main.ts", "data/tales.txt"].map((path) => resolve(import.meta.dir, "..", path));
  const sizes = ["--steps", "300", "--vocabulary", "1024", "--warmup", "5", "--device", "cpu"];
  run([process.execPath, "run", main!, "pretrain", "--data", data!, "--out", out, ...sizes], folder);
  return out;
}

function run(command: readonly string[], cwd: string): void {
  const { exitCode } = Bun.spawnSync([...command], { cwd, stdout: "inherit", stderr: "inherit" });
  if (exitCode !== 0) throw new Error(`${command.join(" ")} ended with ${exitCode}`);
}
