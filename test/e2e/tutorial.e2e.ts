/** docs/tutorial.md, from its first command to its last, by the executable, in an empty folder. */
import { afterAll, expect, test } from "bun:test";
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { temporaryFolder } from "../support/folder";
import { form, partsOf } from "../support/session";

const folder = temporaryFolder();
afterAll(() => folder[Symbol.dispose]());
const bin = join(folder.path, "bin");
mkdirSync(bin);
copyFileSync("dist/dawngrad", join(bin, "dawngrad"));
const parts = partsOf(readFileSync("docs/tutorial.md", "utf8"));
let cwd = folder.path;

test("the page has its commands", () => {
  expect(parts.filter(({ kind }) => kind === "command").length).toBeGreaterThan(10);
});

test.each(parts.map((part) => [part.kind === "file" ? part.name : part.command, part] as const))(
  "%s",
  async (_, part) => {
    if (part.kind === "file") {
      writeFileSync(join(cwd, part.name), part.text);
      return;
    }
    const where = join(folder.path, "where");
    const child = Bun.spawn(["bash", "-c", `{ ${part.command}\n} 2>&1; code=$?; pwd > "${where}"; exit $code`], {
      cwd,
      stdout: "pipe",
      env: {
        ...process.env,
        PATH: `${bin}${delimiter}${process.env.PATH}`,
        NO_COLOR: "1",
        DAWNGRAD_CACHE: join(folder.path, "cache"),
        XDG_STATE_HOME: join(folder.path, "state"),
      },
    });
    const said = await child.stdout.text();
    expect(await child.exited, said).toBe(0);
    cwd = existsSync(where) ? readFileSync(where, "utf8").trim() : cwd;
    // What is shown was printed, in this order; numbers are another machine's, and `...` leaves out.
    const lines = said.split("\n").map(form);
    let at = 0;
    for (const line of part.printed.filter((line) => line.trim() !== "..." && line.trim() !== "")) {
      const shown = form(line);
      const found = lines.findIndex(
        (one, i) => i >= at && (shown.endsWith("...") ? one.startsWith(shown.slice(0, -3)) : one === shown),
      );
      expect(found, `${line}\nis not in what was printed:\n${said}`).toBeGreaterThanOrEqual(0);
      at = found + 1;
    }
  },
  600_000,
);
