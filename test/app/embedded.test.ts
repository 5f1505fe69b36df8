/** What travels inside the executable is what the project's configs need. */
import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { embeddedFiles } from "../../src/app/embedded";

const configs = readdirSync("configs").filter((name) => name.endsWith(".toml"));

describe("inside the executable", () => {
  test.each(configs)("is configs/%s, with the project's data that it reads", (name) => {
    const text = readFileSync(`configs/${name}`, "utf8");
    const data = [...text.matchAll(/"(data\/[^"]+)"/g)].map(([, path]) => path!).filter((path) => existsSync(path));
    expect(embeddedFiles).toContain(`configs/${name}`);
    for (const path of data) expect(embeddedFiles).toContain(path);
  });
});
