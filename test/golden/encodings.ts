/**
 * Writes encodings.json: the bytes that GNU as gives for the instructions of test/support/instructions.ts.
 *
 * Run: sh scripts/with-bun.sh test/golden/encodings.ts, with as and objcopy. Seen with GNU Binutils 2.40.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { instructions } from "../support/instructions";

const folder = mkdtempSync(join(tmpdir(), "encodings-"));
const path = (name: string) => join(folder, name);
const [source, object, section] = [path("source.s"), path("object.o"), path("section")];

function run(...command: readonly string[]): void {
  const { exitCode, stderr } = Bun.spawnSync([...command]);
  if (exitCode !== 0) throw new Error(`${command[0]}: ${stderr}`);
}

function sectionOf(name: string): Buffer {
  run("objcopy", "-O", "binary", "-j", name, object, section);
  return readFileSync(section);
}

const texts = [...new Set(instructions.map(({ text }) => text))];
// Each begins at a multiple of 64, so that alignment in it is as from the start of code.
const lines = texts.map((text, i) => `.balign 64\nstart${i}: ${text}\nend${i}:`);
const places = texts.map((_, i) => `.long start${i} - start0, end${i} - start0`);
writeFileSync(source, [".intel_syntax noprefix", ".text", ...lines, '.section .places, "a"', ...places, ""].join("\n"));
run("as", "-o", object, source);
const [code, found] = [sectionOf(".text"), sectionOf(".places")];
rmSync(folder, { recursive: true });
const bytesOf = (i: number) => code.subarray(found.readInt32LE(8 * i), found.readInt32LE(8 * i + 4));
const encodings = Object.fromEntries(texts.map((text, i) => [text, bytesOf(i).toString("hex")]));
writeFileSync(join(import.meta.dir, "encodings.json"), `${JSON.stringify(encodings, null, 1)}\n`);
