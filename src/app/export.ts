/** A model in the form that other programs read. Nothing stands under its final name before it is whole. */
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { basename } from "node:path";
import { UserError } from "../errors";
import { writeAside } from "../files";
import { copyModel, openModelFiles } from "../formats/checkpoint";
import { type GgufType, writeGguf } from "../formats/gguf";
import { loadTokenizer, writeTokenizer } from "../text/tokenizer";

/** A Hugging Face model directory: config.json, model.safetensors, tokenizer files. Works without a device, tensor by tensor. */
export async function exportSafetensors(directory: string, out: string): Promise<void> {
  using stored = await openModelFiles(directory);
  const tokenizer = await loadTokenizer(directory);
  await under(out, async (temporary) => {
    await mkdir(temporary);
    await copyModel(temporary, stored, tokenizer.endOfText);
    await writeTokenizer(temporary, tokenizer.files);
  });
}

/** One GGUF file for llama.cpp and what is built on it. */
export async function exportGguf(directory: string, out: string, type: GgufType): Promise<void> {
  using stored = await openModelFiles(directory);
  const { files: tokenizer } = await loadTokenizer(directory);
  const { model, values } = stored;
  await under(out, async (temporary) =>
    writeGguf(temporary, { name: basename(out, ".gguf"), model, tokenizer, values }, type),
  );
}

async function under(out: string, write: (temporary: string) => Promise<void>): Promise<void> {
  if (existsSync(out))
    throw new UserError(`${out} is there already`, { hint: "give another name with --out", exitCode: 2 });
  await writeAside(out, write);
}
