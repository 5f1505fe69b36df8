/** Measures several programs in turn, so that what else the machine does falls on all alike, and tells what was found. */

export interface Contestant {
  readonly name: string;
  /** Tokens a second of one short sample. */
  readonly sample: () => number | Promise<number>;
}

export interface Figures {
  readonly name: string;
  readonly median: number;
  readonly least: number;
  readonly most: number;
}

/** Threads that have nothing to do look for more work for a while before they sleep, those of OpenMP and of ggml for some milliseconds. */
const PAUSE_MS = 300;

/** One sample of each in every round. A round before the first warms up. */
export async function inTurn(contestants: readonly Contestant[], rounds: number): Promise<Figures[]> {
  const samples = contestants.map((): number[] => []);
  for (let round = 0; round <= rounds; round++) {
    for (const [i, { sample }] of contestants.entries()) {
      const found = await sample();
      if (round > 0) samples[i]!.push(found);
      await Bun.sleep(PAUSE_MS);
    }
  }
  return contestants.map(({ name }, i) => {
    const sorted = samples[i]!.sort((a, b) => a - b);
    return {
      name,
      median: (sorted[(rounds - 1) >> 1]! + sorted[rounds >> 1]!) / 2,
      least: sorted[0]!,
      most: sorted.at(-1)!,
    };
  });
}

/** Tokens a second of a call that is made again until the seconds have passed. */
export function tokensPerSecond(run: () => void, tokens: number, seconds: number): number {
  const start = performance.now();
  let [runs, spent] = [0, 0];
  for (; runs === 0 || spent < seconds; runs++) {
    run();
    spent = (performance.now() - start) / 1000;
  }
  return (runs * tokens) / spent;
}

/** The median, and in brackets the least and the most. */
export function told({ median, least, most }: Figures): string {
  const [middle, low, high] = [median, least, most].map((value) =>
    value < 1000 ? value.toFixed(1) : Math.round(value).toLocaleString("en"),
  );
  return `${middle} (${low} to ${high})`;
}
