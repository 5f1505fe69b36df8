/** `dawngrad doctor`: what there is to compute on, and whether training would work. */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { freemem, totalmem } from "node:os";
import { join } from "node:path";
import { defineCommand } from "citty";
import { checkDevice } from "../app/self-test";
import type { DeviceInfo } from "../device/device";
import { cpuDevice, driverHint, listAdapters, wantedBy, whyNoMachineCode } from "../device/list";
import { type Opening, openDevice } from "../device/open";
import { messageOf, UserError } from "../errors";
import { ownCache } from "../hub/settings";
import { memory } from "../log/console";
import { deviceArg, openingOf } from "./options";
import { print } from "./print";

interface Finding {
  readonly ok: boolean;
  /** Training would work without it. */
  readonly optional?: boolean;
  readonly what: string;
  readonly hint?: string;
}

export default defineCommand({
  meta: { name: "doctor", description: "lists devices and what is missing; exit code 0 only if training would work" },
  args: { ...deviceArg, json: { type: "boolean", description: "prints one JSON object" } },
  run({ args }) {
    const { devices, findings } = examine(args.device, openingOf(args));
    const ok = findings.every(({ ok, optional }) => ok || optional);
    if (args.json) print(`${JSON.stringify({ ok, devices, findings })}\n`);
    else print(asText(devices, findings, ok));
    if (!ok) process.exitCode = 1;
  },
});

function examine(wanted: string, opening: Opening): { devices: DeviceInfo[]; findings: Finding[] } {
  const findings: Finding[] = [];
  let adapters: DeviceInfo[] = [];
  try {
    adapters = listAdapters();
    findings.push({ ok: true, what: "Dawn, the WebGPU library, is loaded" });
    if (adapters.length === 0) {
      findings.push({ ok: false, optional: true, what: "no WebGPU adapter that computes was found", hint: driverHint });
    }
  } catch (error) {
    findings.push({ ...failed(error), optional: true });
  }
  findings.push(machineCode());
  const devices = [...adapters, cpuDevice()];
  const chosen = tryDevice(wanted, opening);
  findings.push(...devices.map((device) => ({ ...tryDevice(wantedBy(device)), optional: true })));
  findings.push({ ...chosen, what: `--device ${wanted}: ${chosen.what}` });
  findings.push(tryCache());
  findings.push({ ok: true, what: `${memory(freemem())} of ${memory(totalmem())} main memory free` });
  return { devices, findings };
}

function machineCode(): Finding {
  const reason = whyNoMachineCode();
  if (reason === null) return { ok: true, what: "the CPU device computes by machine code for AVX2 and FMA" };
  return { ok: false, optional: true, what: `the CPU device computes by WebAssembly's vectors: ${reason}` };
}

function tryDevice(wanted: string, opening?: Opening): Finding {
  try {
    using device = openDevice(wanted, opening);
    const { name, kind, arithmetic } = device.info;
    const by = kind === "cpu" ? ` by ${arithmetic}` : "";
    const error = checkDevice(device);
    const ok = error < 1e-4;
    return ok
      ? {
          ok,
          what: `${name} (${kind}) computes${by}: a training step agrees with float64 to ${error.toExponential(1)}`,
        }
      : {
          ok,
          what: `${name} (${kind}) computes${by} wrongly: a training step differs from float64 by ${error.toExponential(1)}`,
          hint: kind === "cpu" ? "please report this, with what `doctor --json` prints" : driverHint,
        };
  } catch (error) {
    return failed(error);
  }
}

function failed(error: unknown): Finding {
  const hint = error instanceof UserError ? error.hint : undefined;
  return { ok: false, what: messageOf(error), ...(hint && { hint }) };
}

function tryCache(): Finding {
  const directory = ownCache();
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

function asText(devices: readonly DeviceInfo[], findings: readonly Finding[], ok: boolean): string {
  const lines = devices.flatMap(({ name, driver, kind, backend, features, limits }) => [
    `device: ${name}`,
    `  kind      ${kind}, ${backend}`,
    `  driver    ${driver}`,
    ...(kind === "cpu"
      ? []
      : [
          `  features  ${["shaderF16", "subgroups", "timestampQuery"].map((f) => `${f} ${features.includes(f) ? "yes" : "no"}`).join(", ")}`,
        ]),
    ...Object.entries(limits).map(([limit, value]) => `  ${limit.padEnd(36)} ${value}`),
    "",
  ]);
  const found = findings.flatMap(({ ok, optional, what, hint }) => [
    `${ok ? "ok   " : optional ? "note " : "FAIL "}${what}`,
    ...(hint ? [`     hint: ${hint}`] : []),
  ]);
  return `${[...lines, ...found, "", ok ? "training would work here" : "training would not work here"].join("\n")}\n`;
}
