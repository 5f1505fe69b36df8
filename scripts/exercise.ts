/** `npm run exercise NAME`: checks what was written into docs/exercises/NAME.ts; `-- --solution` checks the solution instead. Without a name, all. */
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { checks } from "./exercises/checks";

const words = process.argv.slice(2);
const folder = words.includes("--solution") ? "docs/exercises/solutions" : "docs/exercises";
const names = words.filter((word) => word !== "--solution");
const unknown = names.find((name) => !Object.hasOwn(checks, name));
if (unknown) {
  console.error(`there is no exercise ${unknown}\nhint: they are ${Object.keys(checks).join(", ")}`);
  process.exit(2);
}
let wrong = 0;
for (const name of names.length > 0 ? names : Object.keys(checks)) {
  const said = await verdict(name);
  if (said) wrong++;
  console.log(`${name}: ${said ?? "right"}`);
}
process.exitCode = wrong > 0 ? 1 : 0;

async function verdict(name: string): Promise<string | null> {
  const path = resolve(folder, `${name}.ts`);
  if (!existsSync(path)) return `${folder}/${name}.ts is not there: get it back with \`git checkout\``;
  try {
    return checks[name]!(await import(path));
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
