/**
 * What the server counts, in Prometheus' text format, under vLLM's names behind `dawngrad_`.
 * https://prometheus.io/docs/instrumenting/exposition_formats/
 */

export interface Metrics {
  readonly prompted: Counter;
  readonly generated: Counter;
  /** By finish reason: stop, length, abort, error. */
  readonly finished: Map<string, number>;
  readonly firstToken: Histogram;
  readonly betweenTokens: Histogram;
  readonly whole: Histogram;
  readonly queued: Histogram;
}

interface Counter {
  value: number;
}

/** Seconds. */
interface Histogram {
  readonly bounds: readonly number[];
  readonly counts: number[];
  sum: number;
}

const SHORT = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];
const LONG = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];

export function newMetrics(): Metrics {
  const histogram = (bounds: readonly number[]): Histogram => ({
    bounds,
    counts: new Array<number>(bounds.length + 1).fill(0),
    sum: 0,
  });
  return {
    prompted: { value: 0 },
    generated: { value: 0 },
    finished: new Map(["stop", "length", "abort", "error"].map((reason) => [reason, 0])),
    firstToken: histogram(LONG),
    betweenTokens: histogram(SHORT),
    whole: histogram(LONG),
    queued: histogram(LONG),
  };
}

export function count({ finished }: Metrics, reason: string): void {
  finished.set(reason, (finished.get(reason) ?? 0) + 1);
}

export function observe(histogram: Histogram, seconds: number): void {
  const at = histogram.bounds.findIndex((bound) => seconds <= bound);
  histogram.counts[at < 0 ? histogram.bounds.length : at]!++;
  histogram.sum += seconds;
}

export interface Gauges {
  readonly running: number;
  readonly waiting: number;
  readonly slots: number;
}

export function prometheus(metrics: Metrics, { running, waiting, slots }: Gauges): string {
  const lines: string[] = [];
  const head = (name: string, type: string, help: string) =>
    lines.push(`# HELP dawngrad_${name} ${help}`, `# TYPE dawngrad_${name} ${type}`);
  const single = (name: string, type: string, help: string, value: number) => {
    head(name, type, help);
    lines.push(`dawngrad_${name} ${value}`);
  };
  const histogram = (name: string, help: string, { bounds, counts, sum }: Histogram) => {
    head(name, "histogram", help);
    let below = 0;
    counts.forEach((count, i) => {
      below += count;
      lines.push(`dawngrad_${name}_bucket{le="${bounds[i] ?? "+Inf"}"} ${below}`);
    });
    lines.push(`dawngrad_${name}_sum ${sum}`, `dawngrad_${name}_count ${below}`);
  };
  single("num_requests_running", "gauge", "Answers that are being written.", running);
  single("num_requests_waiting", "gauge", "Answers that wait for a slot.", waiting);
  single("num_slots", "gauge", "Answers that can be written at the same time.", slots);
  single("kv_cache_usage_perc", "gauge", "Slots in use, of all: 1 is all.", slots ? running / slots : 0);
  single("prompt_tokens_total", "counter", "Tokens of prompts.", metrics.prompted.value);
  single("generation_tokens_total", "counter", "Tokens that were written.", metrics.generated.value);
  head("request_success_total", "counter", "Answers by how they ended.");
  for (const [reason, value] of metrics.finished)
    lines.push(`dawngrad_request_success_total{finished_reason="${reason}"} ${value}`);
  histogram("time_to_first_token_seconds", "From the request to its first token.", metrics.firstToken);
  histogram("inter_token_latency_seconds", "Between two tokens of an answer.", metrics.betweenTokens);
  histogram("e2e_request_latency_seconds", "From the request to the end of its answer.", metrics.whole);
  histogram("request_queue_time_seconds", "From the request until it has a slot.", metrics.queued);
  return `${lines.join("\n")}\n`;
}
