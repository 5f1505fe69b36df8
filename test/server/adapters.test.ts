/** Adapters by name: models of their own over one base, which answer as they do anywhere else. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { temporaryFolder } from "../support/folder";
import { readUntil } from "../support/read-until";
import { CHAT, say, told } from "../support/served";
import { writeToy } from "../support/talking";

const files = temporaryFolder();
const base = join(files.path, "base");
const adapter = join(files.path, "runs", "adapted");

function dawngrad(...words: string[]): string {
  const { stdout, stderr, exitCode } = Bun.spawnSync([process.execPath, "src/main.ts", ...words, "--device", "cpu"]);
  if (exitCode !== 0) throw new Error(String(stderr));
  return String(stdout);
}

beforeAll(async () => {
  await writeToy(base);
  const data = join(files.path, "data.jsonl");
  const records = ["one", "two", "three"].map((word) => ({ prompt: `say ${word}`, completion: word.repeat(3) }));
  writeFileSync(data, records.map((record) => `${JSON.stringify(record)}\n`).join(""));
  const given = ["--model", base, "--data", data, "--lora", "--steps", "20", "--lr", "0.02", "--validation", "none"];
  dawngrad("sft", ...given, "--template", "chat", "--out", adapter);
});
afterAll(() => files[Symbol.dispose]());

test("are listed, and answer each as generate does", async () => {
  const names = ["--name", "base", "--adapter", `adapted=${adapter}`];
  const child = Bun.spawn(
    [process.execPath, "src/main.ts", "serve", "--model", base, ...names, "--port", "0", "--device", "cpu"],
    { stdout: "ignore", stderr: "pipe" },
  );
  try {
    const address = /page to chat at (\S+)\/;/.exec(await readUntil(child.stderr, /slots of/))![1]!;
    const list = (await (await fetch(`${address}/v1/models`)).json()) as { data: { id: string }[] };
    expect(list.data.map(({ id }) => id)).toEqual(["base", "adapted"]);
    const ask = async (model: string) => {
      const body = { model, messages: say("say one"), temperature: 0, max_tokens: 20 };
      return await told(fetch(address + CHAT, { method: "POST", body: JSON.stringify(body) }));
    };
    const [plain, adapted] = [await ask("base"), await ask("adapted")];
    const generate = (...more: string[]) =>
      dawngrad(
        "generate",
        ...more,
        "--chat",
        "--template",
        "chat",
        "--temperature",
        "0",
        "--max-tokens",
        "20",
        "--prompt",
        "say one",
      );
    expect(plain.choices[0]!.message!.content).toBe(generate("--model", base).trim());
    expect(adapted.choices[0]!.message!.content).toBe(generate("--model", adapter).trim());
    expect(adapted.choices[0]!.message!.content).not.toBe(plain.choices[0]!.message!.content);
    expect(adapted.model).toBe("adapted");
    // With several, a name that none has is nobody's.
    expect((await ask("other")).error).toMatchObject({ code: "model_not_found", param: "model" });
  } finally {
    child.kill("SIGTERM");
    expect(await child.exited).toBe(0);
  }
});
