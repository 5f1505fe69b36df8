/** What importing dawngrad costs, and what is public. */
import { expect, test } from "bun:test";
import manifest from "../../package.json";

const program = `
globalThis.Worker = class { constructor() { throw new Error("a worker was started"); } };
const start = performance.now();
const names = Object.keys(await import("dawngrad"));
console.log(JSON.stringify({ names: names.sort(), ms: performance.now() - start }));
`;

test("importing starts no worker, says nothing, takes no long time, and lets the program end; four names are public", () => {
  const { exitCode, stdout, stderr } = Bun.spawnSync([process.execPath, "-e", program], { timeout: 10_000 });
  expect({ exitCode, stderr: stderr.toString() }).toEqual({ exitCode: 0, stderr: "" });
  const { names, ms } = JSON.parse(stdout.toString());
  expect(names).toEqual(["DawngradError", "open", "openReward", "train"]);
  expect(ms).toBeLessThan(3000);
});

test("nothing else can be imported by the package's name", () => {
  expect(Object.keys(manifest.exports)).toEqual(["."]);
  const inside = Bun.spawnSync([process.execPath, "-e", 'await import("dawngrad/src/errors.ts")']);
  expect(inside.exitCode).not.toBe(0);
  expect(inside.stderr.toString()).toContain("dawngrad/src/errors.ts");
});
