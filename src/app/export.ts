/** A model in the form that other programs read. Nothing stands under its final name before it is whole. */
import { mkdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { UserError } from "../errors";
import { writeNew } from "../files";
import { copyModel, openModelFiles } from "../formats/checkpoint";
import { type GgufType, ggufWriting } from "../formats/gguf";
import { loadTokenizer, writeTokenizer } from "../text/tokenizer";
import { patiently } from "../tick";
import { expectRows } from "./model";

/** A Hugging Face model directory: config.json, model.safetensors, tokenizer files. Works without a device, tensor by tensor. */
export async function exportSafetensors(directory: string, out: string): Promise<void> {
  using stored = await openModelFiles(directory, { storage: "f32" });
  const tokenizer = await loadTokenizer(directory);
  expectRows(stored.model, tokenizer, directory);
  await writeNew(out, async (temporary) => {
    await mkdir(temporary);
    await copyModel(temporary, stored, tokenizer);
    await writeTokenizer(temporary, tokenizer.files);
  });
}

/** One GGUF file for llama.cpp and what is built on it. */
export async function exportGguf(directory: string, out: string, type: GgufType): Promise<void> {
  if (/[/\\]$/.test(out))
    throw new UserError(`${out} is a folder, and GGUF is one file`, {
      hint: `give its name: ${join(out, "model.gguf")}`,
      exitCode: 2,
    });
  using stored = await openModelFiles(directory, { storage: "f32" });
  const tokenizer = await loadTokenizer(directory);
  const { model, values } = stored;
  expectRows(model, tokenizer, directory);
  const source = { name: basename(out, ".gguf"), model, tokenizer: tokenizer.files, values };
  await writeNew(out, (temporary) => patiently(ggufWriting(temporary, source, type)));
}
