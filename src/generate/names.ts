/**
 * What makes the random numbers of prompts their own: what a prompt says, how often the same was asked for before it, and which sample of
 * it is meant. Never its place.
 */
import { fingerprintOf } from "../fingerprint";
import { pcg } from "../ops/random";

/** How often each prompt was asked for so far. */
export type Asked = Map<string, number>;

/** A name for each prompt, of which each stands `samples` times, one behind the other. */
export function namesOf(prompts: readonly (readonly number[])[], asked: Asked, samples = 1): number[] {
  const print = (ids: readonly number[]) => fingerprintOf([Uint32Array.from(ids)]);
  let own = 0;
  return prompts.map((ids, i) => {
    const sample = i % samples;
    if (sample === 0) {
      const key = print(ids);
      const before = asked.get(key) ?? 0;
      asked.set(key, before + 1);
      own = (Number.parseInt(key.slice(0, 8), 16) + pcg(before)) >>> 0;
    }
    return pcg((own + sample) >>> 0);
  });
}
