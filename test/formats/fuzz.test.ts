/** Model files with any JSON in any place of theirs: opened or refused in a sentence, and never anything else. Seeded. */
import { expect, test } from "bun:test";
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { UserError } from "../../src/errors";
import { openModelFiles } from "../../src/formats/checkpoint";
import { openAdapter } from "../../src/formats/peft";
import { gpt2 } from "../../src/model/gpt2";
import { modelOf } from "../../src/model/model";
import { temporaryFolder } from "../support/folder";

const config = { type: "gpt2", vocabulary: 37, context: 12, layers: 2, heads: 2, width: 16, epsilon: 1e-5 };
const odd = fc.oneof(
  fc.constantFrom<unknown>(null, true, -1, 0, 1.5, 1e308, 2 ** 53, "", "constructor", "__proto__", "(", [], {}, [[]]),
  fc.jsonValue(),
);
const changed = (object: object) =>
  fc.oneof(
    {
      arbitrary: fc.tuple(fc.constantFrom(...Object.keys(object)), odd).map(([key, v]) => ({ ...object, [key]: v })),
      weight: 5,
    },
    { arbitrary: odd, weight: 1 },
  );

/** Every file that is made is refused in a sentence, or opened; how many were what. */
async function outcomes(files: fc.Arbitrary<unknown>, write: (value: unknown) => void, open: () => unknown) {
  const count = { opened: 0, refused: 0 };
  await fc.assert(
    fc.asyncProperty(files, async (value) => {
      write(value);
      try {
        const opened = (await open()) as Disposable;
        opened[Symbol.dispose]();
        count.opened++;
      } catch (error) {
        expect(error).toBeInstanceOf(UserError);
        expect((error as Error).message).not.toMatch(/is not a function|\(evaluating|undefined is/);
        expect((error as Error).message.length).toBeLessThan(400);
        count.refused++;
      }
    }),
    { seed: 1, numRuns: 120 },
  );
  return count;
}

test("config.json, adapter_config.json and an index", async () => {
  using folder = temporaryFolder();
  const at = (...parts: string[]) => join(folder.path, ...parts);
  for (const layout of ["openai", "sharded"])
    cpSync(join("test/golden/layouts", layout), at(layout), { recursive: true });
  cpSync("test/golden/peft/lora", at("lora"), { recursive: true });
  const read = (path: string) => JSON.parse(readFileSync(path, "utf8"));
  const into = (path: string) => (value: unknown) => writeFileSync(path, JSON.stringify(value));

  const whole = gpt2.toJson(config, { endOfText: 36, padding: 0 });
  const model = await outcomes(changed(whole), into(at("openai", "config.json")), () => openModelFiles(at("openai")));
  const own = at("lora", "adapter_config.json");
  const adapter = await outcomes(changed(read(own)), into(own), () => openAdapter(at("lora"), modelOf(config)));
  const index = at("sharded", "model.safetensors.index.json");
  const shards = await outcomes(
    fc.oneof(
      changed(read(index)),
      changed(read(index).weight_map).map((weight_map) => ({ weight_map })),
    ),
    into(index),
    () => openModelFiles(at("sharded")),
  );
  for (const { refused } of [model, adapter, shards]) expect(refused).toBeGreaterThan(20);
  for (const { opened } of [model, adapter]) expect(opened).toBeGreaterThan(5);
});

test("the header of a safetensors file", async () => {
  using folder = temporaryFolder();
  cpSync("test/golden/layouts/transformers", folder.path, { recursive: true });
  const path = join(folder.path, "model.safetensors");
  const file = readFileSync(path);
  const length = 8 + Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.subarray(8, length).toString());
  const write = (value: unknown) => {
    const text = Buffer.from(JSON.stringify(value));
    const size = Buffer.alloc(8);
    size.writeBigUInt64LE(BigInt(text.length));
    writeFileSync(path, Buffer.concat([size, text, file.subarray(length)]));
  };
  const names = fc.constantFrom(...Object.keys(header), "__metadata__");
  const entry = fc
    .tuple(names, fc.constantFrom("dtype", "shape", "data_offsets"), odd)
    .map(([name, key, value]) => ({ ...header, [name]: { ...header[name], [key]: value } }));
  const { refused } = await outcomes(fc.oneof(entry, changed(header)), write, () => openModelFiles(folder.path));
  expect(refused).toBeGreaterThan(80);
});
