/** Choices by seed: an order, a held-out share, a subset. */
import { randomAt } from "../ops/random";

/** A permutation of 0 to count - 1: a function of seed and stream. */
export function shuffled(count: number, seed: number, stream: number): number[] {
  const order = Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(randomAt(seed, stream, i) * (i + 1));
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}

/** The held-out share, and the rest, each in the order that it was in. Items of one key, such as one record, stay together. */
export function holdOut<T>(
  items: readonly T[],
  share: number,
  seed: number,
  keyOf: (item: T) => unknown = (item) => item,
): { readonly train: T[]; readonly held: T[] } {
  const keys = [...new Set(items.map(keyOf))];
  const count = Math.min(keys.length - 1, Math.max(1, Math.round(keys.length * share)));
  const chosen = chosenOf(keys, count, seed, 101);
  return {
    train: items.filter((item) => !chosen.has(keyOf(item))),
    held: items.filter((item) => chosen.has(keyOf(item))),
  };
}

/** Items of `count` keys, chosen by seed; all if there are no more. */
export function subsetOf<T>(
  items: readonly T[],
  count: number,
  seed: number,
  keyOf: (item: T) => unknown = (item) => item,
): T[] {
  const keys = [...new Set(items.map(keyOf))];
  if (count === 0 || count >= keys.length) return [...items];
  const chosen = chosenOf(keys, count, seed, 102);
  return items.filter((item) => chosen.has(keyOf(item)));
}

function chosenOf<K>(keys: readonly K[], count: number, seed: number, stream: number): ReadonlySet<K> {
  return new Set(
    shuffled(keys.length, seed, stream)
      .slice(0, count)
      .map((i) => keys[i]!),
  );
}
