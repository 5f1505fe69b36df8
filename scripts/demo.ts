/**
 * `npm run demo`: the whole path, then its page and a short chat; `-- --quick`: only the first minute of it. Whatever else is given goes to
 * `dawngrad run`, such as --out FOLDER or --device cpu. Run again it goes on where it was.
 */
const given = process.argv.slice(2);
const quick = given.includes("--quick");
const rest = given.filter((word) => word !== "--quick");
const config = quick ? "configs/tales.toml" : "configs/demo.toml";
const at = rest.findIndex((word) => /^--out(=|$)/.test(word));
const out = at < 0 ? `runs/${quick ? "tales" : "demo"}` : (rest[at]!.split("=")[1] ?? rest[at + 1]!);

await dawngrad(["run", config, ...rest]);
if (!quick) {
  await dawngrad(["report", out]);
  const asked = ["Where does Pip live?", "Who fears thunder?", "Tell me where the fox lives."];
  console.error(`\ndawngrad chat --model ${out}`);
  for (const [i, question] of asked.entries()) {
    console.log(`\n> ${question}`);
    await dawngrad(["chat", "--model", out, "--temperature", "0", "--seed", String(i)], `${question}\n`);
  }
}

/** Ends this program as it has ended, where it failed or was interrupted. */
async function dawngrad(words: readonly string[], input?: string): Promise<void> {
  const child = Bun.spawn([process.execPath, "src/main.ts", ...words], {
    stdin: input === undefined ? "inherit" : new TextEncoder().encode(input),
    stdout: "inherit",
    stderr: input === undefined ? "inherit" : "ignore",
  });
  // A Ctrl-C goes to both; this one waits until what was trained is saved.
  process.on("SIGINT", () => {});
  process.once("SIGTERM", () => child.kill("SIGTERM"));
  const code = await child.exited;
  if (code !== 0) process.exit(code);
}

export {};
