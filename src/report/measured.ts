/** What stages leave that measure or make smaller, as far as a report needs it; and what is told of that in tables. */
import { z } from "zod";
import { memory } from "../log/console";

export interface Table {
  readonly title: string;
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

export const quantised = z.looseObject({
  scheme: z.string(),
  bytes: z.object({ before: z.number(), after: z.number() }),
  measured: z
    .object({
      perplexity: z.object({ before: z.number(), after: z.number() }),
      divergence: z.number(),
      data: z.string(),
    })
    .nullable(),
});
export type Quantised = z.infer<typeof quantised>;

const figure = z.looseObject({
  name: z.string(),
  value: z.number().nullable(),
  share: z.boolean().optional(),
  stderr: z.number().nullish(),
});
export type Figure = z.infer<typeof figure>;

export const results = z.looseObject({
  results: z.array(z.looseObject({ name: z.string(), model: z.string(), table: z.array(figure) })),
});
export type Result = z.infer<typeof results>["results"][number];

export function told(value: number, { share }: Pick<Figure, "share">): string {
  return share ? `${(100 * value).toFixed(1)}%` : number(value);
}

export function number(value: number): string {
  return Math.abs(value) >= 1e-3 || value === 0 ? value.toPrecision(4) : value.toExponential(2);
}

export function quantisedTable({ bytes, measured, scheme }: Quantised): Table {
  return {
    title: `${scheme}, before and after`,
    head: ["", "before", "after"],
    rows: [
      ["size", memory(bytes.before), `${memory(bytes.after)} (${(bytes.after / bytes.before).toFixed(3)})`],
      ...(measured
        ? [
            [`perplexity of ${measured.data}`, number(measured.perplexity.before), number(measured.perplexity.after)],
            ["divergence, nats a token", "", measured.divergence.toExponential(2)],
          ]
        : []),
    ],
  };
}

/** A row for each figure, a column for each model. */
export function resultsTable(results: readonly Result[]): Table {
  const models = [...new Set(results.map(({ model }) => model))];
  const cell = (found: Figure | undefined) => {
    if (!found) return "";
    const { value, stderr } = found;
    if (value === null) return "none";
    return typeof stderr === "number" ? `${told(value, found)} ± ${told(stderr, found)}` : told(value, found);
  };
  const rows = [...Map.groupBy(results, ({ name }) => name)].flatMap(([entry, of]) =>
    [...new Set(of.flatMap(({ table }) => table.map(({ name }) => name)))].map((figure) => [
      `${entry}: ${figure}`,
      ...models.map((model) => cell(of.find((one) => one.model === model)?.table.find(({ name }) => name === figure))),
    ]),
  );
  return { title: "measured", head: ["", ...models], rows };
}
