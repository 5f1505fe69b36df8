/** Machine code as a whole: what was built is what the sources write, memory is never writable and executable, faults end the process. */
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { openCpu } from "../../../src/device/cpu/cpu";
import { placed } from "../../../src/device/cpu/native/executable";
import { whyNot } from "../../../src/device/cpu/native/features";
import { kernels, machineCode } from "../../../src/device/cpu/native/machine-code";
import { kinds } from "../../../src/device/cpu/native/pack";
import { vectorsOf } from "../../../src/device/cpu/vectors";
import { cpuKinds, device } from "../../support/device";
import { worstOf } from "../../support/random-products";

test("what was built is what the sources write", () => {
  expect(Buffer.from(machineCode()).equals(readFileSync("dist/kernels-x64.bin"))).toBe(true);
});

test("kernels have the numbers by which kernels/cpu/native.ts calls them", () => {
  const constants = (file: string, of: RegExp) =>
    [...readFileSync(`kernels/cpu/${file}.ts`, "utf8").matchAll(of)].map(([, name, n]) => [Number(n), name!] as const);
  const numbers = constants("native", /^(?:export )?const ([A-Z_0-9]+): u32 = (\d+);/gm);
  const names = kernels.map(([name], i) => [i, name] as const);
  expect(numbers).toEqual(names.filter(([, name]) => !name.includes(" ")));
  const stored = constants("math", /^export const ([A-Z]+\d+): u32 = (\d);/gm).map(([, name]) => name.toLowerCase());
  expect(stored.slice(0, kinds.length)).toEqual([...kinds]);
});

describe.if(process.platform === "linux")("on Linux", () => {
  test.if(process.arch === "x64")("the processor says of itself what the system says of it", () => {
    const flags =
      readFileSync("/proc/cpuinfo", "utf8")
        .match(/^flags\s*:(.*)$/m)?.[1]
        ?.split(" ") ?? [];
    const all = ["avx", "avx2", "fma", "f16c"].every((flag) => flags.includes(flag));
    expect(whyNot() === null).toBe(all);
    expect(vectorsOf("auto")).toBe(all ? "native" : "wasm");
    expect(vectorsOf("wasm")).toBe("wasm");
  });
});

describe.if(whyNot() === null && process.platform === "linux")("where it runs", () => {
  test("it lies in memory that may be read and executed, and not written", () => {
    const address = placed(machineCode())!;
    const found = readFileSync("/proc/self/maps", "utf8")
      .split("\n")
      .map((line) => line.match(/^([0-9a-f]+)-([0-9a-f]+) (\S+)/))
      .find((match) => match && Number.parseInt(match[1]!, 16) <= address && address < Number.parseInt(match[2]!, 16));
    expect(found?.[3]).toBe("r-xp");
  });
  test("where the system gives no memory, there is no place for it", () => {
    // Memory of no length is refused.
    expect(placed(new Uint8Array())).toBe(null);
  });
  test("it changes no signal's handler", () => {
    const caught = () => readFileSync("/proc/self/status", "utf8").match(/^Sig(?:Blk|Ign|Cgt):.*$/gm);
    openCpu(undefined, "wasm")[Symbol.dispose]();
    const before = caught();
    openCpu(undefined, "native")[Symbol.dispose]();
    expect(caught()).toEqual(before);
  });
  test.concurrent.each([
    ["main", "illegal"],
    ["main", "null"],
    ["main", "past"],
    ["helper", "illegal"],
    ["helper", "null"],
    ["helper", "past"],
  ])("a fault in the %s thread (%s) ends the process, with a code that is not 0", async (where, what) => {
    const child = Bun.spawn([process.execPath, "test/support/faulting.ts", where, what], {
      stdout: "pipe",
      stderr: "pipe",
    });
    const code = await child.exited;
    expect(code).not.toBe(0);
    expect(await new Response(child.stdout).text()).toBe("");
    const fault = what === "illegal" ? "Illegal instruction" : "Segmentation fault";
    expect(await new Response(child.stderr).text()).toContain(fault);
  });
});

test("products of random shapes agree with float64, by machine code and by WebAssembly", () => {
  const { error, shape } = worstOf(
    cpuKinds.map((kind) => device(kind)),
    { count: 250, seed: 7 },
  );
  expect(error, shape).toBeLessThan(5e-7);
});
