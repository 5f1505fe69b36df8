/** Ctrl-C, SIGTERM and SIGHUP: they end a command, with the exit code that shells give them, but training first saves where it stands. */
import { readFileSync } from "node:fs";
import { constants } from "node:os";
import type { Reporter } from "../log/console";

const names = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
type Name = (typeof names)[number];

/** What a shell says of a program that a signal has ended. */
const exitCode = (name: Name) => 128 + constants.signals[name];

/** For every command. What is written then is written aside, and is gone with the program. */
export function endOnSignals(): void {
  for (const name of names) if (!ignored(name)) process.on(name, () => process.exit(exitCode(name)));
}

/** Started by nohup a program outlives its terminal. Shells have what runs behind them ignore Ctrl-C, but not a signal sent to it. */
function ignored(name: Name): boolean {
  if (name !== "SIGHUP") return false;
  try {
    const mask = /^SigIgn:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0";
    return ((BigInt(`0x${mask}`) >> BigInt(constants.signals[name] - 1)) & 1n) === 1n;
  } catch {
    return false; // a system that does not say
  }
}

/** For a command that runs until it is told to end: the first signal tells it, a second one ends the program at once. */
export function onEnd(told: () => void): Promise<void> {
  return new Promise((resolve) => {
    let heard = false;
    for (const name of names) {
      if (process.listenerCount(name) === 0) continue;
      process.removeAllListeners(name);
      process.on(name, () => {
        if (heard) process.exit(exitCode(name));
        heard = true;
        told();
        resolve();
      });
    }
  });
}

export interface Interrupts {
  /** Aborted by the first signal that comes while it is held. */
  readonly signal: AbortSignal;
  /** From here on there is something to save: until this is disposed of, only a second signal ends the program at once. */
  hold(): Disposable;
  /** Of the signal that was heard. */
  exitCode(): number;
}

export function interrupts(console: Reporter): Interrupts {
  const controller = new AbortController();
  const stop = (name: Name) => {
    if (controller.signal.aborted) process.exit(exitCode(name));
    console.note("stopping after this step; once more to stop at once");
    controller.abort(name);
  };
  return {
    signal: controller.signal,
    hold() {
      const heard = names.filter((name) => process.listenerCount(name) > 0);
      const before = heard.map((name) => process.listeners(name));
      for (const name of heard) {
        process.removeAllListeners(name);
        process.on(name, () => stop(name));
      }
      return {
        [Symbol.dispose]() {
          for (const [i, name] of heard.entries()) {
            process.removeAllListeners(name);
            for (const listener of before[i]!) process.on(name, listener as () => void);
          }
        },
      };
    },
    exitCode: () => exitCode(controller.signal.reason as Name),
  };
}
