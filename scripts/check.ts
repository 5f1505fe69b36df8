/** Everything that must hold before a change lands: format and lint, types, generated files, tests. */
const steps: [string, string[]][] = [
  ["format and lint", ["node_modules/.bin/biome", "ci", "--error-on-warnings"]],
  ["types", ["node_modules/.bin/tsc"]],
  ["generated files", [process.execPath, "scripts/write-docs.ts", "--check"]],
  ["tests", [process.execPath, "test", "--timeout", "120000"]],
];
let failed = 0;
for (const [name, command] of steps) {
  const { exitCode } = Bun.spawnSync(command, { stdout: "inherit", stderr: "inherit" });
  if (exitCode !== 0) failed++;
  console.log(`${exitCode === 0 ? "ok    " : "FAILED"}  ${name}`);
}
process.exit(failed ? 1 : 0);
