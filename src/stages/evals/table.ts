/** Results as a table for people: a row for each figure of each entry, a column for each model. */
import { aligned } from "../../log/aligned";
import type { Figure } from "./measure";
import type { Failure, Report } from "./results";

/** A line each. Entries that failed are told apart, below. */
export function tableOf({ results, failures }: Pick<Report, "results" | "failures">): string[] {
  const models = [...new Set(results.map(({ model }) => model))];
  const rows: string[][] = [["", "", ...models]];
  const methods: string[] = [];
  for (const [entry, of] of Map.groupBy(results, ({ name }) => name)) {
    const names = new Set(of.flatMap(({ table }) => table.map(({ name }) => name)));
    for (const [i, name] of [...names].entries()) {
      const cells = models.map((model) => {
        const found = of.find((one) => one.model === model)?.table.find((figure) => figure.name === name);
        return found ? cellOf(found) : "";
      });
      rows.push([i === 0 ? entry : "", name, ...cells]);
    }
    for (const method of new Set(of.map(({ settings, method }) => `${settings.data}; ${method}`)))
      methods.push(`${entry}: ${method}`);
  }
  return [
    ...(results.length > 0 ? [...aligned(rows), "", ...methods] : []),
    ...(results.some(({ table }) => table.some(hasError)) ? ["±: standard error; in brackets: 95%"] : []),
    ...failureLines(failures, results.length > 0),
  ];
}

function failureLines(failures: readonly Failure[], below: boolean): string[] {
  if (failures.length === 0) return [];
  return [
    ...(below ? [""] : []),
    "not measured:",
    ...failures.map(({ name, model, error }) => `  ${name} of ${model}: ${error}`),
  ];
}

function hasError({ stderr, interval }: Figure): boolean {
  return typeof stderr === "number" || interval !== undefined;
}

function cellOf({ value, share, stderr, interval }: Figure): string {
  if (value === null) return "none";
  const text = (one: number) => (share ? `${(100 * one).toFixed(1)}%` : plain(one, value));
  if (interval) return `${text(value)} (${interval.map(text).join(" to ")})`;
  return typeof stderr === "number" ? `${text(value)} ± ${text(stderr)}` : text(value);
}

/** With as many places as suit a number of this size. */
function plain(one: number, like: number): string {
  return one.toFixed(Math.abs(like) < 100 ? 4 : 1);
}
