/** What makes the random numbers of prompts their own: what a prompt says, and how often the same was asked for before it. Never its place. */
import { fingerprintOf } from "../fingerprint";

/** How often each prompt was asked for so far. */
export type Asked = Map<string, number>;

/** A name for each prompt. Of equal ones, samples of one prompt among them, each has another. */
export function namesOf(prompts: readonly (readonly number[])[], asked: Asked): number[] {
  return prompts.map((ids) => {
    const print = fingerprintOf([Uint32Array.from(ids)]);
    const before = asked.get(print) ?? 0;
    asked.set(print, before + 1);
    return (Number.parseInt(print.slice(0, 8), 16) + before) >>> 0;
  });
}
