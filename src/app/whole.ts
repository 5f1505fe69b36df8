/** How far a whole pipeline has come, told in front of each stage's own progress. */
import { duration, type Reporter } from "../log/console";

export interface Whole {
  /** A stage begins: what it says goes through this. */
  begin(name: string): Reporter;
  /** It is finished; `worked`: it was done here from its beginning. */
  end(name: string, worked: boolean): void;
}

/**
 * Over the stages that are to run, in their order. `seconds`: what they took elsewhere. How fast this machine is beside that one shows in
 * the stages that are over, and in the one under way once it takes longer than it should. Without them no time left is told.
 */
export function wholeOf(
  stages: readonly string[],
  { console, seconds }: { readonly console: Reporter; readonly seconds: Readonly<Record<string, number>> },
): Whole {
  // Longer than a year is no measurement.
  const known = stages.every((name) => Object.hasOwn(seconds, name) && seconds[name]! >= 0 && seconds[name]! < 3.2e7);
  const waiting = new Set(stages);
  let [here, elsewhere] = [0, 0];
  let began = performance.now();
  const gone = () => (performance.now() - began) / 1000;
  /** Of this machine to the other. */
  const pace = () => (elsewhere > 0 ? here / elsewhere : 1);
  const left = (current: string) => {
    let rest = 0;
    for (const name of waiting) if (name !== current) rest += seconds[name]!;
    return pace() * rest + Math.max(0, pace() * seconds[current]! - gone());
  };
  return {
    begin(name) {
      if (stages.length === 1) return console;
      began = performance.now();
      const at = `${stages.indexOf(name) + 1}/${stages.length}`;
      const mark = () => (known ? `[${at}, ${duration(left(name))} left]` : `[${at}]`);
      return { ...console, status: (text) => console.status(`${mark()} ${text}`) };
    },
    end(name, worked) {
      waiting.delete(name);
      if (!worked) return;
      here += gone();
      elsewhere += known ? seconds[name]! : 0;
    },
  };
}
