/** npm's node-llama-cpp, which is no dependency: its prebuilt llama.cpp for the CPU, installed into a folder where it is not there yet. */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const VERSION = "3.21.1";

/** What is called of it. */
interface LlamaModule {
  getLlama(options: { gpu: false; build: "never"; logLevel: string }): Promise<Llama>;
}

interface Llama {
  loadModel(options: { modelPath: string }): Promise<LlamaModel>;
  dispose(): Promise<void>;
}

export interface LlamaModel {
  readonly tokens: { readonly eos: number | null };
  tokenize(text: string, special: boolean): number[];
  createContext(options: object): Promise<{
    getSequence(): LlamaSequence;
    dispose(): Promise<void>;
  }>;
  dispose(): Promise<void>;
}

export interface LlamaSequence {
  evaluate(ids: number[], options: object): AsyncIterable<number>;
  clearHistory(): Promise<void>;
}

/** Takes 700 MB the first time. */
export async function openLlama(folder: string): Promise<Llama> {
  const { getLlama } = (await import(install(folder))) as LlamaModule;
  return getLlama({ gpu: false, build: "never", logLevel: "error" });
}

/** The next tokens, the likeliest each time. An end of text is a token like any other. */
export async function greedy(sequence: LlamaSequence, ids: readonly number[], count: number): Promise<number[]> {
  const found: number[] = [];
  for await (const id of sequence.evaluate([...ids], { temperature: 0, yieldEogToken: true })) {
    found.push(id);
    if (found.length === count) break;
  }
  return found;
}

function install(folder: string): string {
  mkdirSync(folder, { recursive: true });
  const entry = join(folder, "node_modules", "node-llama-cpp", "dist", "index.js");
  if (existsSync(entry)) return entry;
  writeFileSync(join(folder, "package.json"), '{ "private": true }\n');
  const command = [process.execPath, "add", "--exact", "--ignore-scripts", `node-llama-cpp@${VERSION}`];
  const { exitCode } = Bun.spawnSync(command, { cwd: folder, stdout: "inherit", stderr: "inherit" });
  if (exitCode !== 0) throw new Error(`${command.join(" ")} ended with ${exitCode}`);
  return entry;
}
