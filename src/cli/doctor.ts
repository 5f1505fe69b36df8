import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { freemem, totalmem } from "node:os";
import { join } from "node:path";
import { defineCommand } from "citty";
import { checkDevice } from "../app/self-test";
import { defaultCache } from "../data/corpus";
import type { DeviceInfo } from "../device/device";
import { driverHint, listAdapters } from "../device/list";
import { openDevice } from "../device/open";
import { messageOf, UserError } from "../errors";
import { memory } from "../log/console";
import { deviceArg } from "./options";

interface Finding {
  readonly ok: boolean;
  readonly what: string;
  readonly hint?: string;
}

/** `dawngrad doctor`: what there is to compute on, and whether training would work. */
export default defineCommand({
  meta: { name: "doctor", description: "lists adapters and what is missing; exit code 0 only if training would work" },
  args: { ...deviceArg, json: { type: "boolean", description: "prints one JSON object" } },
  run({ args }) {
    const { adapters, findings } = examine(args.device);
    const ok = findings.every(({ ok }) => ok);
    if (args.json) process.stdout.write(`${JSON.stringify({ ok, adapters, findings })}\n`);
    else process.stdout.write(asText(adapters, findings, ok));
    if (!ok) process.exitCode = 1;
  },
});

function examine(wanted: string): { adapters: DeviceInfo[]; findings: Finding[] } {
  let adapters: DeviceInfo[] = [];
  const findings: Finding[] = [];
  try {
    adapters = listAdapters();
    findings.push({ ok: true, what: "Dawn, the WebGPU library, is loaded" });
  } catch (error) {
    const hint = error instanceof UserError ? error.hint : undefined;
    return { adapters, findings: [{ ok: false, what: messageOf(error), ...(hint && { hint }) }] };
  }
  if (adapters.length === 0) findings.push({ ok: false, what: "no adapter that computes was found", hint: driverHint });
  else findings.push(tryDevice(wanted));
  findings.push(tryCache());
  const free = freemem();
  findings.push({ ok: true, what: `${memory(free)} of ${memory(totalmem())} main memory free` });
  return { adapters, findings };
}

function tryDevice(wanted: string): Finding {
  try {
    using device = openDevice(wanted);
    const error = checkDevice(device);
    const ok = error < 1e-4;
    return ok
      ? { ok, what: `${device.info.name} computes: a training step agrees with float64 to ${error.toExponential(1)}` }
      : {
          ok,
          what: `${device.info.name} computes wrongly: a training step differs from float64 by ${error.toExponential(1)}`,
          hint: driverHint,
        };
  } catch (error) {
    const hint = error instanceof UserError ? error.hint : undefined;
    return { ok: false, what: messageOf(error), ...(hint && { hint }) };
  }
}

function tryCache(): Finding {
  const directory = defaultCache();
  try {
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, ".probe"), "");
    rmSync(join(directory, ".probe"));
    return { ok: true, what: `the cache ${directory} can be written` };
  } catch (error) {
    return {
      ok: false,
      what: `the cache ${directory} cannot be written: ${messageOf(error)}`,
      hint: "set DAWNGRAD_CACHE to another folder",
    };
  }
}

function asText(adapters: readonly DeviceInfo[], findings: readonly Finding[], ok: boolean): string {
  const lines = adapters.flatMap(({ name, driver, kind, backend, features, limits }) => [
    `adapter: ${name}`,
    `  kind      ${kind}, ${backend}`,
    `  driver    ${driver}`,
    `  features  ${["shaderF16", "subgroups", "timestampQuery"].map((f) => `${f} ${features.includes(f) ? "yes" : "no"}`).join(", ")}`,
    ...Object.entries(limits).map(([limit, value]) => `  ${limit.padEnd(36)} ${value}`),
    "",
  ]);
  const found = findings.flatMap(({ ok, what, hint }) => [
    `${ok ? "ok   " : "FAIL "}${what}`,
    ...(hint ? [`     hint: ${hint}`] : []),
  ]);
  return `${[...lines, ...found, "", ok ? "training would work here" : "training would not work here"].join("\n")}\n`;
}
