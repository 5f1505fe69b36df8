/** Running a config from a command: the device, Ctrl-C, the run's folder, the exit code. */
import type { Config } from "../app/config";
import { type Choice, runPipeline } from "../app/pipeline";
import { openConsole } from "../log/console";
import { type DeviceArgs, interruptible, openFor } from "./options";

export async function startRun(
  config: Config,
  { out, choice, ...wanted }: DeviceArgs & { out?: string | undefined; choice?: Choice },
): Promise<void> {
  const console = openConsole();
  const signal = interruptible(console);
  using device = openFor(wanted, console);
  const directory = out ?? runFolder(config);
  const write = (text: string) => process.stdout.write(text);
  const outcome = await runPipeline(config, { device, directory, console, signal, write, ...(choice && { choice }) });
  if (outcome === "interrupted") process.exitCode = 130;
}

/** Where a config's run is kept. */
export function runFolder({ name }: Config): string {
  return `runs/${name}`;
}
