/** What measures `dawngrad serve` needs: models of random weights, the server as a process, and clients that read a stream. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { openDevice } from "../src/device/open";
import { writeModel } from "../src/formats/checkpoint";
import { presets } from "../src/model/architectures";
import { modelOf } from "../src/model/model";
import { initialise } from "../src/model/parameters";
import { Slab } from "../src/model/slab";
import { trainBpe } from "../src/text/bpe";
import { builtIn } from "../src/text/template";
import { type Tokenizer, tokenizerFrom, withTemplate, writeTokenizer } from "../src/text/tokenizer";
import { gpt2Files } from "../test/support/gpt2-tokenizer";

export type Shape = "micro" | "gpt2";

/** A model's folder with random weights and a chat template. */
export async function writeRandom(folder: string, shape: Shape): Promise<Tokenizer> {
  const files = shape === "gpt2" ? gpt2Files() : trainBpe([await Bun.file("data/tales.txt").text()], { size: 640 });
  const tokenizer = withTemplate(tokenizerFrom(files), builtIn.chat!);
  using device = openDevice("cpu");
  const model = modelOf({ ...presets[shape]!, context: 1024, vocabulary: tokenizer.size, epsilon: 1e-5 });
  using weights = new Slab(device, model.parameters, { values: initialise(model.parameters, 1) });
  mkdirSync(folder, { recursive: true });
  await writeModel(folder, model, weights, tokenizer);
  await writeTokenizer(folder, tokenizer.files);
  return tokenizer;
}

let made = 0;
const words = ["stone", "river", "lantern", "morning", "barn", "owl", "ladder", "bread", "winter", "road", "bell"];

/** So many words. No two begin alike, so that no slot holds a beginning already. */
export function prompt(length: number): string {
  const seed = made++;
  return Array.from({ length }, (_, i) => words[Math.floor(seed / words.length ** i + i * i) % words.length]).join(" ");
}

export interface Served extends AsyncDisposable {
  readonly address: string;
  /** Of its memory MB that are in use, as the kernel counts them. */
  resident(): Promise<number>;
}

export async function start(model: string, flags: readonly string[] = []): Promise<Served> {
  const program = process.env.DAWNGRAD ? [process.env.DAWNGRAD] : [process.execPath, "src/main.ts"];
  const child = Bun.spawn([...program, "serve", "--model", model, "--port", "0", ...flags], {
    stdout: "ignore",
    stderr: "pipe",
  });
  const decoder = new TextDecoder();
  let said = "";
  let address: string | undefined;
  const reader = child.stderr.getReader();
  while (!address) {
    const { done, value } = await reader.read();
    if (done) throw new Error(`the server has not started: ${said}`);
    said += decoder.decode(value, { stream: true });
    address = /page to chat at (\S+)\/;/.exec(said)?.[1];
  }
  void (async () => {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      process.stderr.write(value);
    }
  })();
  return {
    address,
    async resident() {
      const status = await Bun.file(join("/proc", String(child.pid), "status")).text();
      return Number(/^VmRSS:\s+(\d+)/m.exec(status)![1]) / 1024;
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      const code = await child.exited;
      if (code !== 0) throw new Error(`the server ended with ${code}`);
    },
  };
}

export interface Heard {
  readonly status: number;
  /** Seconds to the first text, and to the end. */
  readonly first: number;
  readonly whole: number;
  readonly tokens: number;
  readonly text: string;
  /** What an error says. */
  readonly error: string | null;
}

/** Asks for a stream of the path's kind. What came is read when all is there, so that a client takes little of the machine. */
export async function hear(address: string, path: string, body: object, signal?: AbortSignal): Promise<Heard> {
  const start = performance.now();
  const since = () => (performance.now() - start) / 1000;
  const response = await fetch(`${address}${path}`, {
    method: "POST",
    body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
    ...(signal && { signal }),
  });
  if (response.status !== 200) {
    const said = (await response.json()) as { error: { message: string } };
    return { status: response.status, first: 0, whole: since(), tokens: 0, text: "", error: said.error.message };
  }
  const parts: Uint8Array[] = [];
  let first = 0;
  for await (const part of response.body!) {
    parts.push(part);
    // The first piece of a chat's stream has a role and no text.
    if (!first && (path.endsWith("/v1/completions") || parts.length > 1 || part.length > 400)) first = since();
  }
  const whole = since();
  const events = Buffer.concat(parts)
    .toString()
    .split("\n\n")
    .filter((line) => line.startsWith("data: "))
    .map((line) => line.slice(6));
  const ended = events.at(-1) === "[DONE]";
  let text = "";
  let tokens = 0;
  let error: string | null = ended ? null : "the stream ended early";
  for (const event of events) {
    if (event === "[DONE]") continue;
    const data = JSON.parse(event);
    if (data.error) error = data.error.message;
    else if (data.usage) tokens = data.usage.completion_tokens;
    text += data.choices?.[0]?.delta?.content ?? data.choices?.[0]?.text ?? "";
  }
  return { status: 200, first, whole, tokens, text, error };
}
