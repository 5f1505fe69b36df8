/**
 * `npm run demo`: the whole path, then its page and a short chat; `-- --quick`: only the first minute of it. Whatever else is given goes to
 * `dawngrad run`, such as --out FOLDER or --device cpu. Run again it goes on where it was.
 */
import { parseArgs } from "node:util";

const words = process.argv.slice(2);
const quick = words.includes("--quick");
const rest = words.filter((word) => word !== "--quick");
const config = quick ? "configs/tales.toml" : "configs/demo.toml";
const given = parseArgs({ args: rest, options: { out: { type: "string" } }, strict: false, allowPositionals: true });
const out = String(given.values.out ?? `runs/${quick ? "tales" : "demo"}`);

let child: Bun.Subprocess | undefined;
// A Ctrl-C goes to both; this one waits until what was trained is saved.
process.on("SIGINT", () => {});
process.on("SIGTERM", () => child?.kill("SIGTERM"));

await dawngrad(["run", config, ...rest]);
if (!quick) {
  await dawngrad(["report", out]);
  const asked = ["Where does Pip live?", "Who fears thunder?", "Is Otto a fox?"];
  console.error(`\ndawngrad chat --model ${out}`);
  for (const [i, question] of asked.entries()) {
    console.log(`\n> ${question}`);
    await dawngrad(["chat", "--model", out, "--temperature", "0", "--seed", String(i)], `${question}\n`);
  }
}

/** Ends this program as it has ended, where it failed or was interrupted. */
async function dawngrad(words: readonly string[], input?: string): Promise<void> {
  child = Bun.spawn([process.execPath, "src/main.ts", ...words], {
    stdin: input === undefined ? "inherit" : new TextEncoder().encode(input),
    stdout: "inherit",
    stderr: input === undefined ? "inherit" : "ignore",
  });
  const code = await child.exited;
  if (code !== 0) process.exit(code);
}
