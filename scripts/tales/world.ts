/** The world of the tales: who lives where, likes what, fears what. Its facts are data, in data/world.json. */
import world from "../../data/world.json";

export type Person = (typeof world.people)[number];
export type Place = (typeof world.places)[number];
export type Season = (typeof world.seasons)[number];

export const { people, places, seasons } = world;

export function personNamed(name: string): Person {
  return known(
    people.find((person) => person.name === name),
    name,
  );
}

export function placeNamed(name: string): Place {
  return known(
    places.find((place) => place.name === name),
    name,
  );
}

/** What somebody of this trade does and makes. */
export function tradeOf({ trade }: Person): { readonly does: string; readonly makes: string } {
  return known((world.trades as Record<string, { does: string; makes: string }>)[trade], trade);
}

function known<T>(value: T | undefined, name: string): T {
  if (value === undefined) throw new Error(`the world has no ${name}`);
  return value;
}

/** A seeded source of choices: the same seed, the same tales. */
export interface Dice {
  /** One of these. */
  pick<T>(choices: readonly T[]): T;
  /** True with this probability. */
  chance(p: number): boolean;
}

/** Mulberry32, a small generator of 32-bit numbers. */
export function diceOf(seed: number): Dice {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return { pick: (choices) => choices[Math.floor(next() * choices.length)]!, chance: (p) => next() < p };
}
