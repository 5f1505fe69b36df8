/** A run on one page that asks nobody else: a function of the run's folder alone. */
import { duration, memory } from "../log/console";
import { escaped } from "./escape";
import { changesOf, type Gain, gainsOf, secondsOf, tokenizerGain } from "./gains";
import { graphSvg } from "./graph";
import { number, quantisedTable, resultsTable, type Table } from "./measured";
import type { RunReport, Sample, StageReport } from "./run";
import { type Chart, chartsOf } from "./series";
import style from "./style.css" with { type: "text" };
import { svgOf } from "./svg";

export async function pageOf(run: RunReport): Promise<string> {
  const sections: string[] = [];
  for (const stage of run.stages) sections.push(await section(stage));
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${escaped(run.name)}</title><style>${style}</style></head>
<body><main>
<h1>${escaped(run.name)}</h1>
<p>${escaped(summary(run))}</p>
${run.notes.map((note) => `<p class="note">${escaped(note)}</p>`).join("")}
<div class="wide">${graphSvg(run.stages, (stage) => graphLine(stage))}</div>
${overview(run)}
${sections.join("\n")}
</main></body></html>
`;
}

/** One sentence: how many stages, how long, on what. */
function summary({ stages }: RunReport): string {
  const program = stages.find((stage) => stage.program !== null)?.program;
  const finished = stages.filter(({ state }) => state === "finished").length;
  const devices = [...new Set(stages.flatMap(({ device }) => device ?? []))];
  const whole =
    finished === stages.length ? `${stages.length} stages` : `${finished} of ${stages.length} stages finished`;
  const seconds = stages.reduce((sum, stage) => sum + (secondsOf(stage) ?? 0), 0);
  const first = stages.flatMap(({ began }) => began ?? []).sort((a, b) => a.getTime() - b.getTime())[0];
  return [
    whole,
    ...(seconds > 0 ? [`${duration(seconds)} of work`] : []),
    ...(devices.length ? [`on ${devices.join(", ")}`] : []),
    ...(first ? [`begun ${first.toISOString().slice(0, 16).replace("T", " ")} UTC`] : []),
    ...(program ? [`by dawngrad ${program}`] : []),
  ].join(", ");
}

function graphLine(stage: StageReport): string {
  const seconds = secondsOf(stage);
  const told = stage.results.length > 0 ? undefined : gainsOf(stage)[0];
  if (stage.state !== "finished") return stage.state === "begun" ? "not finished" : "not begun";
  return [...(told ? [`${told.figure} ${told.after}`] : []), ...(seconds === null ? [] : [duration(seconds)])].join(
    ", ",
  );
}

/** Every stage, with what it has gained. */
function overview(run: RunReport): string {
  const tokenizer = tokenizerGain(run).map(({ figure, before, after }) => [
    "tokenizer",
    "",
    "",
    figure,
    before,
    after,
    "",
    "",
    "",
  ]);
  return table({
    title: "",
    head: ["stage", "kind", "from", "held out", "before", "after", "tokens/s", "size", "time"],
    rows: [
      ...tokenizer,
      ...run.stages.flatMap((stage) => {
        const seconds = secondsOf(stage);
        const speeds = stage.points.flatMap(({ values }) => values.tokens_per_second ?? []).sort((a, b) => a - b);
        const from = [...new Set(stage.reads.map(({ name }) => name))].join(", ");
        const size = [
          speeds.length > 0 ? Math.round(speeds[speeds.length >> 1]!).toLocaleString("en") : "",
          stage.bytes === null ? "" : memory(stage.bytes),
          seconds === null ? stage.state : duration(seconds),
        ];
        const [first, ...more] = gainsOf(stage);
        const cells = (gain: Gain | undefined) => [gain?.figure ?? "", gain?.before ?? "", gain?.after ?? ""];
        return [
          [stage.name, stage.kind, from, ...cells(first), ...size],
          ...more.map((gain) => ["", "", "", ...cells(gain), "", "", ""]),
        ];
      }),
    ],
  });
}

async function section(stage: StageReport): Promise<string> {
  const { name, kind, state, settings, data, reads, points, samples, quantised, results } = stage;
  const tables = [
    ...(quantised ? [quantisedTable(quantised)] : []),
    ...(results.length > 0 ? [resultsTable(results)] : []),
  ];
  const charts = chartsOf(points);
  const drawn: string[] = [];
  for (const chart of charts) {
    const small = /norm|learning rate|entropy/.test(chart.title);
    drawn.push(
      `<figure>${await svgOf(chart, { width: small ? 320 : 480, height: small ? 180 : 260 })}${values(chart)}</figure>`,
    );
  }
  const facts: (readonly [string, string])[] = [
    ["reads", reads.map(({ key, name }) => (key === "from" ? name : `${name} (${key})`)).join(", ")],
    ["data", data.join(", ")],
    ["settings", settings.map(([key, value]) => `${key} = ${value}`).join(", ")],
  ];
  const told = changesOf(stage).filter(({ before }) => before !== "");
  return `<section id="${encodeURIComponent(name)}"><h2>${escaped(name)} <small>${escaped(kind === name ? "" : kind)} ${state === "finished" ? "" : state}</small></h2>
<dl>${facts.map(([key, value]) => (value ? `<dt>${key}</dt><dd>${escaped(value)}</dd>` : "")).join("")}</dl>
${points.length === 0 && tables.length === 0 && state !== "not begun" ? '<p class="note">It has no metrics.</p>' : ""}
${tables.map(table).join("")}
${told.length > 0 ? table({ title: "held out", head: ["", "before", "after"], rows: told.map(({ figure, before, after }) => [figure, before, after]) }) : ""}
<div class="charts">${drawn.join("")}</div>
${samplesTable(samples)}</section>`;
}

/** Those of the first time they were written beside those of the last. */
function samplesTable(samples: readonly Sample[]): string {
  if (samples.length === 0) return "";
  const steps = [...new Set(samples.map(({ step }) => step))].sort((a, b) => a - b);
  const [first, last] = [steps[0]!, steps.at(-1)!];
  const at = (step: number) => samples.filter((sample) => sample.step === step).slice(0, 8);
  const cut = (text: string) => (text.length > 600 ? `${text.slice(0, 600)}…` : text);
  const [before, after] = [at(first), at(last)];
  if (first === last)
    return table({
      title: `samples of step ${first}`,
      head: ["asked", "answer"],
      rows: before.map(({ prompt, text }) => [cut(prompt), cut(text)]),
    });
  const count = Math.max(before.length, after.length);
  const side = (sample: Sample | undefined) =>
    sample ? cut((sample.prompt && `${sample.prompt} → ${sample.text}`) || sample.text) : "";
  return table({
    title: "samples",
    head: [`step ${first}`, `step ${last}`],
    rows: Array.from({ length: count }, (_, i) => [side(before[i]), side(after[i])]),
  });
}

function table({ title, head, rows }: Table): string {
  const row = (cells: readonly string[], tag: string) =>
    `<tr>${cells.map((cell) => `<${tag} dir="auto">${escaped(cell)}</${tag}>`).join("")}</tr>`;
  const used = head.map((_, i) => rows.some((cells) => (cells[i] ?? "") !== ""));
  const kept = (cells: readonly string[]) => cells.filter((_, i) => used[i]);
  return `<div class="wide"><table>${title ? `<caption>${escaped(title)}</caption>` : ""}<thead>${row(kept(head), "th")}</thead><tbody>${rows.map((cells) => row(kept(cells), "td")).join("")}</tbody></table></div>`;
}

/** The numbers behind a chart, for who cannot see it. */
function values({ x, series }: Chart): string {
  const xs = [...new Set(series.flatMap(({ points }) => points.map(([at]) => at)))].sort((a, b) => a - b);
  const some = xs.filter((_, i) => i % Math.ceil(xs.length / 60) === 0 || i === xs.length - 1);
  const rows = some.map((at) => [
    String(at),
    ...series.map(({ points }) => {
      const found = points.find(([own]) => own === at);
      return found ? number(found[1]) : "";
    }),
  ]);
  return `<details><summary>values</summary>${table({ title: "", head: [x, ...series.map(({ name }) => name)], rows })}</details>`;
}
