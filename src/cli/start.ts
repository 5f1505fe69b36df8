/** Running a config from a command: the device, signals, the run's folder, the exit code. */
import { type Config, runFolder } from "../app/config";
import { type Choice, runPipeline } from "../app/pipeline";
import { openConsole } from "../log/console";
import { gainLines } from "../report/gains";
import { readRun } from "../report/run";
import { type DeviceArgs, openFor } from "./options";
import { print } from "./print";
import { interrupts } from "./signals";

export async function startRun(
  config: Config,
  {
    out,
    choice,
    beside,
    ...wanted
  }: DeviceArgs & { out?: string | undefined; choice?: Choice; beside?: string | undefined },
): Promise<void> {
  const console = openConsole();
  const { signal, hold, exitCode } = interrupts(console);
  using device = openFor(wanted, console);
  const directory = out ?? runFolder(config);
  const more = { beside, ...(choice && { choice }) };
  const outcome = await runPipeline(config, { device, directory, console, signal, hold, write: print, ...more });
  if (outcome === "interrupted") {
    process.exitCode = exitCode();
    return;
  }
  if (config.stage.length === 1) return;
  print(`\n${gainLines(readRun(directory)).join("\n")}\n\n`);
  console.note(`dawngrad report ${directory} shows it on a page`);
}
