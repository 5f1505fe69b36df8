/** How fast the steps on a round are: from when it was made to when the next one is begun, less what is measured and saved between. */

export interface UpdateSpeed {
  /** Tokens that the steps on this round have read. */
  tokens: number;
  /** Tokens a second of the last round that is over; 0 where there was none. */
  readonly speed: number;
  start(): void;
  stop(): void;
  leaveOut<T>(work: () => Promise<T>): Promise<T>;
}

export function updateSpeed(): UpdateSpeed {
  let since: number | null = null;
  let left = 0;
  let speed = 0;
  return {
    tokens: 0,
    get speed() {
      return speed;
    },
    start() {
      since = performance.now();
      left = 0;
      this.tokens = 0;
    },
    stop() {
      if (since !== null && this.tokens > 0) speed = (1000 * this.tokens) / (performance.now() - since - left);
      since = null;
    },
    async leaveOut(work) {
      const start = performance.now();
      try {
        return await work();
      } finally {
        left += performance.now() - start;
      }
    },
  };
}
