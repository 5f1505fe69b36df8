/** One measurement of one model: what it reads, whether it fits the model, its figures, and those of them that a table shows. */
import { z } from "zod";
import { templateFile } from "../../data/template-for";
import { UserError } from "../../errors";
import { metricNames } from "../../eval/choice-tasks";
import type { Interval } from "../../eval/interval";
import type { PassAt } from "../../eval/pass-at";
import { loadRule } from "../../eval/rule";
import type { ModelConfig } from "../../model/architecture";
import { rewardKind } from "../../rewards/named";
import { bestOf } from "./best-of";
import { choiceFiles, measureChoices } from "./choose";
import { comparePairs } from "./compare";
import type { Entry, Other } from "./entries";
import { measureAnswers, measureRule, measureText } from "./evaluate";
import { pairedAnswers } from "./paired-answers";
import type { Reading, Scorer, Subject } from "./subject";

/** A row of a table. */
export const figure = z.object({
  name: z.string(),
  /** Null where there is none, such as where nothing was judged. */
  value: z.number().nullable(),
  /** A share is told in per cent. */
  share: z.boolean(),
  stderr: z.number().nullable().optional(),
  /** Between which it lies in 95 of 100 cases. */
  interval: z.tuple([z.number(), z.number()]).optional(),
});
export type Figure = z.infer<typeof figure>;

export interface Measured {
  readonly method: string;
  readonly table: readonly Figure[];
  /** All there are, as `dawngrad eval KIND --json` tells them. */
  readonly figures: Readonly<Record<string, unknown>>;
}

/** Raised by hand when figures of a kind change their meaning: what was measured before is then measured again. */
export const versions: Readonly<Record<Entry["kind"], number>> = {
  perplexity: 1,
  answers: 1,
  rule: 1,
  choice: 1,
  "best-of": 1,
  compare: 1,
};

/** The files that its figures depend on. Throws a UserError where a folder has none, or a template is none. */
export function filesOf(entry: Entry): string[] {
  const template = "template" in entry ? templateFile(entry.template) : null;
  const rule = "rule" in entry && entry.rule !== undefined ? rewardKind(entry.rule) : null;
  return [
    ...(entry.kind === "choice" ? choiceFiles(entry.data) : [entry.data]),
    ...(template === null ? [] : [template]),
    ...(rule?.kind === "module" ? [rule.path] : []),
  ];
}

/** Throws a UserError where a model of these sizes cannot be asked so. */
export function expectEntryFits(entry: Entry, { context: most }: Pick<ModelConfig, "context">): void {
  const expect = (key: string, value: number) => {
    if (value > most) throw new UserError(`${key} is ${value}, and the model's context is ${most}`, { exitCode: 2 });
  };
  if (entry.kind === "perplexity") {
    expect("context", entry.context ?? 0);
    expect("stride", entry.stride ?? 0);
  }
  if ("maxTokens" in entry) expect("maxTokens", entry.maxTokens);
}

/** `open`: another model that the entry reads, such as its reward model. */
export async function measure(
  subject: Subject,
  entry: Entry,
  reading: Reading,
  open: (key: Other) => Promise<Scorer & Disposable>,
): Promise<Measured> {
  const { config } = subject.model;
  expectEntryFits(entry, config);
  switch (entry.kind) {
    case "perplexity": {
      const { context = config.context, stride = Math.max(1, context >> 1) } = entry;
      const figures = await measureText(subject, { data: entry.data, context, stride }, reading);
      const { method, perplexity, perplexity_stderr, bits_per_byte, word_perplexity } = figures;
      const table = [
        number("perplexity", perplexity, perplexity_stderr),
        number("bits per byte", bits_per_byte),
        number("word perplexity", word_perplexity),
      ];
      return { method, table, figures: { ...figures } };
    }
    case "answers": {
      const { figures } = await measureAnswers(subject, entry, reading);
      const { method, exact_match, ended, in_form } = figures;
      const table = [
        share("exact match", exact_match),
        share("ended by themselves", ended),
        share("whole conversations", in_form),
      ];
      return { method, table, figures: { ...figures } };
    }
    case "rule": {
      const rule = await loadRule(entry.rule, reading.find);
      const { figures } = await measureRule(subject, { ...entry, rule, by: entry.by ?? null }, reading);
      const { method, means, pass_at = {}, groups = {} } = figures;
      const told = ({ means, pass_at = {} }: Pick<typeof figures, "means" | "pass_at">, of: string) => [
        ...Object.entries(means).map(([name, one]) => mean(`${of}${name}`, one)),
        ...Object.entries(pass_at).map(([k, one]) => passed(`${of}pass@${k}`, one)),
      ];
      const table = [
        ...told({ means, pass_at }, ""),
        ...Object.entries(groups).flatMap(([name, group]) => told(group, `${name}: `)),
      ];
      return { method, table, figures: { ...figures } };
    }
    case "choice": {
      const { figures } = await measureChoices(subject, entry, reading);
      const { method, metrics, files = {} } = figures;
      const told = (metrics: (typeof figures)["metrics"], of: string) =>
        metricNames.flatMap((name) => {
          const found = metrics[name];
          if (!found) return [];
          const { value, stderr } = found;
          return [name === "perplexity" ? number(of + name, value, stderr) : share(of + name, value, stderr)];
        });
      const table = [
        ...told(metrics, ""),
        ...Object.entries(files).flatMap(([name, { metrics }]) => told(metrics, `${name}: `)),
      ];
      return { method, table, figures: { ...figures } };
    }
    case "best-of": {
      const rule = entry.rule === undefined ? null : await loadRule(entry.rule, reading.find);
      using judge = await open("reward");
      const { answers: _, ...figures } = await bestOf(subject, judge, { ...entry, rule }, reading);
      const both = Object.entries({ reward: figures.reward, ...figures.rule });
      const table = both.flatMap(([name, { all, best }]) => [
        mean(`${name} of all`, all),
        mean(`${name} of the best`, best),
      ]);
      const { samples, temperature, seed } = entry;
      const method = `the best of ${samples} by ${entry.reward}, sampled at temperature ${temperature}, seed ${seed}; ${figures.divergence.toFixed(3)} nats an answer from the model at most`;
      return { method, table, figures: { method, ...figures } };
    }
    case "compare": {
      const rule = entry.rule === undefined ? null : await loadRule(entry.rule, reading.find);
      const own = { ...subject, [Symbol.dispose]() {} };
      const sides = [
        { name: "the model", open: async () => own },
        { name: entry.against, open: () => open("against") },
      ] as const;
      const pairs = await pairedAnswers(sides, entry, reading);
      using reward = entry.reward === undefined ? null : await open("reward");
      const { figures } = await comparePairs(pairs, { rule, reward, batch: entry.batch }, reading.console);
      const table = Object.entries(figures.scores).flatMap(([name, one]): Figure[] => [
        { name: `wins by ${name}`, ...percent(one.win_rate, one.standard_error), share: true },
        { name: `${name}, ahead by`, value: one.difference, share: false, stderr: one.difference_error },
      ]);
      const { temperature, seed } = entry;
      const method = `against ${entry.against}, ${temperature === 0 ? "greedy" : `sampled at temperature ${temperature}, seed ${seed}`}`;
      return { method, table, figures: { method, ...figures } };
    }
    default:
      throw new Error(`entry ${entry satisfies never}`);
  }
}

/** Of a number of 100. */
function percent(value: number | null, stderr: number | null): Pick<Figure, "value" | "stderr"> {
  return { value: value === null ? null : value / 100, stderr: stderr === null ? null : stderr / 100 };
}

function number(name: string, value: number, stderr: number | null = null): Figure {
  return { name, value: finite(value), share: false, stderr: finite(stderr) };
}

/** What is too large for a number has none: of a text without white space, the perplexity a word. */
function finite(value: number | null): number | null {
  return value !== null && Number.isFinite(value) ? value : null;
}

function share(name: string, value: number, stderr: number | null = null): Figure {
  return { name, value, share: true, stderr };
}

function mean(name: string, got: Interval | null | undefined): Figure {
  return got
    ? { name, value: got.mean, share: false, interval: [got.low, got.high] }
    : { name, value: null, share: false };
}

function passed(name: string, got: PassAt | null | undefined): Figure {
  return { name, value: got?.value ?? null, share: false, stderr: got?.stderr ?? null };
}
