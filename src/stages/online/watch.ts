/** What is noticed of a policy that is losing its way: it is said once, with what may be done about it. */
import type { Json } from "../../train/stage";

/** Rounds in a row after which something is said. */
const PATIENCE = 20;
/** Share of groups without signal above which there is next to nothing to learn from. */
const SILENT = 0.9;
/** Nats an answer beyond which a policy has left its reference, where nothing else is aimed at; and how often the target that is. */
const FAR = 50;
const FAR_BEYOND = 5;

export interface Seen {
  readonly reward: number;
  /** Share of groups whose rewards do not differ; null where there are no groups. */
  readonly silent: number | null;
  /** Nats an answer to the reference; null where there is none. */
  readonly divergence: number | null;
  /** What the divergence should be, where that is said. */
  readonly target?: number | undefined;
}

type Worry = "collapsed" | "silent" | "far";

interface State {
  readonly start: number | null;
  /** Rounds in a row. */
  readonly counts: Readonly<Record<Worry, number>>;
}

export interface Watch {
  /** Of a round; lines for people, most often none. */
  see(seen: Seen): string[];
  save(): Json;
  load(json: Json): void;
}

export function watch(): Watch {
  let state: State = { start: null, counts: { collapsed: 0, silent: 0, far: 0 } };
  return {
    see({ reward, silent, divergence, target }) {
      const start = state.start ?? reward;
      // Below half of what it was; a reward that was below zero has twice the way down.
      const fallen = reward < start - 0.5 * Math.abs(start);
      const now: Record<Worry, boolean> = {
        collapsed: fallen,
        silent: silent !== null && silent > SILENT,
        far: divergence !== null && divergence > (target === undefined ? FAR : FAR_BEYOND * target),
      };
      const counts = Object.fromEntries(
        (Object.keys(now) as Worry[]).map((worry) => [worry, now[worry] ? state.counts[worry] + 1 : 0]),
      ) as Record<Worry, number>;
      state = { start, counts };
      const said = (worry: Worry) => counts[worry] === PATIENCE;
      return [
        ...(said("collapsed")
          ? [
              `collapse: the reward has been below half of what it began with (${start.toFixed(3)}) for ${PATIENCE} rounds, and is ${reward.toFixed(3)}: use a lower learning rate, or hold the policy to a reference`,
            ]
          : []),
        ...(said("silent")
          ? [
              fallen
                ? `collapse: ${percent(silent!)} of the groups have had answers of one reward for ${PATIENCE} rounds, and the reward is ${reward.toFixed(3)} (at first ${start.toFixed(3)}): use a lower learning rate`
                : `no learning signal: ${percent(silent!)} of the groups have had answers of one reward for ${PATIENCE} rounds, so that nothing is learned from them: use easier or harder prompts, more samples, a higher temperature, or dynamic sampling`,
            ]
          : []),
        ...(said("far")
          ? [
              `the policy runs away from its reference: ${divergence!.toFixed(1)} nats an answer for ${PATIENCE} rounds: raise what the divergence costs, or use a lower learning rate`,
            ]
          : []),
      ];
    },
    save: () => state as unknown as Json,
    load(json) {
      state = json as unknown as State;
    },
  };
}

function percent(share: number): string {
  return `${(100 * share).toFixed(0)}%`;
}
