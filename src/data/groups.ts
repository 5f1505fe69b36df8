/** Answers to one prompt with all that is said of which is better: each answer is read once, however many pairs it is in. */
import type { Example } from "./examples";
import type { PairExample } from "./pairs";

export interface Ranked {
  /** Places among the answers. */
  readonly chosen: number;
  readonly rejected: number;
  /** By how much the chosen one is better; 0 where nothing is said. */
  readonly margin: number;
}

export interface Group {
  readonly answers: readonly Example[];
  readonly pairs: readonly Ranked[];
  readonly where: string;
}

/** Pairs by their prompt, in order. A prompt with more than `most` answers becomes several groups. */
export function groupsOf(pairs: readonly PairExample[], most: number): Group[] {
  const byPrompt = new Map<string, PairExample[]>();
  for (const pair of pairs) {
    const known = byPrompt.get(pair.prompt);
    if (known) known.push(pair);
    else byPrompt.set(pair.prompt, [pair]);
  }
  return [...byPrompt.values()].flatMap((pairs) => grouped(pairs, most));
}

function grouped(pairs: readonly PairExample[], most: number): Group[] {
  const groups: { answers: Example[]; pairs: Ranked[]; places: Map<string, number>; where: string }[] = [];
  for (const { chosen, rejected, margin, where } of pairs) {
    const keys = [chosen, rejected].map(({ ids }) => ids.join());
    const news = (places: ReadonlyMap<string, number>) => keys.filter((key) => !places.has(key)).length;
    let group = groups.find(({ answers, places }) => answers.length + news(places) <= most);
    if (!group) groups.push((group = { answers: [], pairs: [], places: new Map(), where }));
    const { answers, places } = group;
    const placeOf = (answer: Example, key: string) => {
      const place = places.get(key) ?? answers.push(answer) - 1;
      places.set(key, place);
      return place;
    };
    group.pairs.push({
      chosen: placeOf(chosen, keys[0]!),
      rejected: placeOf(rejected, keys[1]!),
      margin: margin ?? 0,
    });
  }
  return groups.map(({ answers, pairs, where }) => ({ answers, pairs, where }));
}
