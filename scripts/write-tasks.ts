/** Writes the data of tasks whose answers a rule can judge, by a seeded generator. */
import { taskFiles } from "./tasks/files";
import { linesOf } from "./tasks/lines";

for (const [path, records] of Object.entries(taskFiles())) {
  await Bun.write(path, linesOf(records));
  console.log(`${path}: ${records.length} records`);
}
