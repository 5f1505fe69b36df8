/** What a person reads while work goes on, all on stderr: notes, and one status line that is rewritten in place on a terminal. */
export interface Reporter {
  /** Whether lines may be coloured: on a terminal, without NO_COLOR. */
  readonly colour: boolean;
  /** A line that stays. */
  note(text: string): void;
  /** Progress: rewritten in place on a terminal, a plain line on a pipe. */
  status(text: string): void;
  /** Ends the status line, so that what follows starts on a line of its own. */
  done(): void;
}

/** Progress on a pipe that no longer says anything new at each step is thinned out by its caller, by how often it calls. */
export function openConsole(stream: NodeJS.WriteStream = process.stderr): Reporter {
  const terminal = stream.isTTY === true;
  let open = false;
  const clear = () => {
    if (open) stream.write("\r\x1b[K");
    open = false;
  };
  return {
    colour: mayColour(stream),
    note(text) {
      clear();
      stream.write(`${text}\n`);
    },
    status(text) {
      if (!terminal) {
        stream.write(`${text}\n`);
        return;
      }
      clear();
      stream.write(fitted(text, stream.columns || 80));
      open = true;
    },
    done() {
      if (open) stream.write("\n");
      open = false;
    },
  };
}

/** https://no-color.org */
export function mayColour(stream: NodeJS.WriteStream): boolean {
  return stream.isTTY === true && !process.env.NO_COLOR;
}

function fitted(text: string, columns: number): string {
  return Bun.stringWidth(text) < columns ? text : `${[...text].slice(0, columns - 2).join("")}…`;
}

/** The same function, called through at most every so many milliseconds: for progress. */
export function throttled<A extends unknown[]>(f: (...args: A) => void, ms = 500): (...args: A) => void {
  let last = performance.now();
  return (...args) => {
    if (performance.now() - last < ms) return;
    last = performance.now();
    f(...args);
  };
}

/** Progress of work whose share is known: `tokenising data.txt  40%  eta 12s`. */
export function percentages(console: Reporter, what: string): (done: number, total: number) => void {
  const start = performance.now();
  return throttled((done, total) => {
    const left = done > 0 ? `  eta ${duration(((performance.now() - start) / 1000 / done) * (total - done))}` : "";
    console.status(`${what}  ${Math.floor((100 * done) / total)}%${left}`);
  });
}

/** `1h02m`, `3m10s`, `12s`. */
export function duration(seconds: number): string {
  const s = Math.max(0, Math.round(seconds));
  const two = (n: number) => String(n).padStart(2, "0");
  if (s >= 3600) return `${Math.floor(s / 3600)}h${two(Math.floor((s % 3600) / 60))}m`;
  return s >= 60 ? `${Math.floor(s / 60)}m${two(s % 60)}s` : `${s}s`;
}

/** `12`, `1.2k`, `3.4M`. */
export function short(n: number): string {
  if (n >= 1e9) return `${(n / 1e9).toFixed(2)}G`;
  if (n >= 1e6) return `${(n / 1e6).toFixed(2)}M`;
  return n >= 1e4 ? `${(n / 1e3).toFixed(1)}k` : String(Math.round(n));
}

/** Bytes as MiB or GiB. */
export function memory(sizeBytes: number): string {
  return sizeBytes >= 2 ** 30 ? `${(sizeBytes / 2 ** 30).toFixed(2)} GiB` : `${(sizeBytes / 2 ** 20).toFixed(1)} MiB`;
}
