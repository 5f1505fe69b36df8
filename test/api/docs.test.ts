/** The examples of docs/api.md are run as they stand, by a project that has dawngrad as a dependency. */
import { afterAll, expect, test } from "bun:test";
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { temporaryFolder } from "../support/folder";

const examples = [...readFileSync("docs/api.md", "utf8").matchAll(/^```ts\n(.*?)^```$/gms)].map(([, text]) => text!);
const folder = temporaryFolder();
afterAll(() => folder[Symbol.dispose]());
mkdirSync(join(folder.path, "node_modules"));
symlinkSync(resolve("."), join(folder.path, "node_modules", "dawngrad"), "dir");

/** What each prints; the first makes the run that the others open. */
const printed: readonly RegExp[] = [
  /^pretrain {\n? *validation_loss: 5\.\d+,?\n?} \npretrain 10\/40 loss \d\.\d{3}\n.*pretrain {\n? *validation_loss: \d.*\n?} the best so far\n.*^sft 10\/10 loss \d.*^reward \d+\/\d+ loss 0\.\d.*^finished runs\/tales \[ "pretrain", "sft", "reward" \]$/ms,
  /^\d+ Once there was a mouse\.\n(0\.\d{4} ".*"\n){3}(stop|length) \d+ .*\n4 \[ 10, 10, 10, 10 \]$/s,
  /^.+\n(stop|length)\nAbortError$/s,
  /^.*\n4 messages, the second is the answer: true$/s,
  /^[\d.]+ nats a token\n(-\d+\.\d{3} (true|false)\n){2}\[ -?[\d.]+, -?[\d.]+, -?[\d.]+ \]\nruns\/tales has no scalar head: it is no reward model \(dawngrad reward trains one\)$/,
];

test("every example has its output here", () => {
  expect(examples).toHaveLength(printed.length);
});

test.each(examples.map((text, i) => [i + 1, text, printed[i]!] as const))(
  "example %d runs, and prints what it should",
  (i, text, output) => {
    const file = join(folder.path, `${i}.ts`);
    writeFileSync(file, text);
    const env = { ...process.env, DAWNGRAD_CACHE: join(folder.path, "cache"), NO_COLOR: "1" };
    const { exitCode, stdout, stderr } = Bun.spawnSync([process.execPath, file], { cwd: folder.path, env });
    expect({ exitCode, stderr: exitCode === 0 ? "" : stderr.toString() }).toEqual({ exitCode: 0, stderr: "" });
    expect(stdout.toString().trim()).toMatch(output);
  },
);
