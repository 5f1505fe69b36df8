/** Exercise: what answers are worth to GRPO. Check it with `npm run exercise advantages`. */

/** Rewards of the answers to each prompt -> their advantages: [prompts][answers] -> the same shape. */
export function advantages(_rewards: number[][]): number[][] {
  throw new Error("not written yet");
}
