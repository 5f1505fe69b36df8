/** A chart in the terminal, in braille dots: two by four of them in a character. */
import type { Chart } from "./series";

const DOTS = [
  [0x01, 0x08],
  [0x02, 0x10],
  [0x04, 0x20],
  [0x40, 0x80],
] as const;

/** Lines of at most `columns` characters; each series in a colour of its own where that is allowed. */
export function terminalChart(
  { title, x, series }: Chart,
  { columns, rows = 14, colour }: { readonly columns: number; readonly rows?: number; readonly colour: boolean },
): string[] {
  const all = series.flatMap(({ points }) => points);
  if (all.length === 0) return [`${title}: no values`];
  const span = (axis: 0 | 1) => {
    const values = all.map((point) => point[axis]);
    const [least, most] = [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];
    return { least, most, of: (v: number) => (most === least ? 0.5 : (v - least) / (most - least)) };
  };
  const [xs, ys] = [span(0), span(1)];
  const labels = [ys.most, (ys.most + ys.least) / 2, ys.least].map(short);
  const margin = Math.max(...labels.map((label) => label.length)) + 1;
  const width = Math.max(10, columns - margin - 1);
  const cells = Array.from({ length: rows }, () => Array.from({ length: width }, () => ({ dots: 0, series: 0 })));
  for (const [index, { points }] of series.entries()) {
    const place = ([px, py]: readonly [number, number]) =>
      [Math.round(xs.of(px) * (2 * width - 1)), Math.round((1 - ys.of(py)) * (4 * rows - 1))] as const;
    const ordered = points.map(place);
    for (const [i, [cx, cy]] of ordered.entries()) {
      const [nx, ny] = x === "step" ? (ordered[i + 1] ?? [cx, cy]) : [cx, cy];
      const steps = Math.max(1, Math.abs(nx - cx), Math.abs(ny - cy));
      for (let t = 0; t <= steps; t++) {
        const [dx, dy] = [Math.round(cx + ((nx - cx) * t) / steps), Math.round(cy + ((ny - cy) * t) / steps)];
        const cell = cells[dy >> 2]![dx >> 1]!;
        cell.dots |= DOTS[dy & 3]![dx & 1]!;
        cell.series = index;
      }
    }
  }
  const painted = (text: string, index: number) =>
    colour ? `\x1b[${[36, 33, 32, 31, 35, 34][index % 6]}m${text}\x1b[39m` : text;
  const at = [0, (rows - 1) >> 1, rows - 1];
  const lines = cells.map((row, i) => {
    const label = at.includes(i) ? labels[at.indexOf(i)]! : "";
    return `${label.padStart(margin - 1)} ${at.includes(i) ? "┤" : "│"}${row
      .map(({ dots, series: of }) => (dots === 0 ? " " : painted(String.fromCharCode(0x2800 + dots), of)))
      .join("")
      .trimEnd()}`;
  });
  const [left, right] = [short(xs.least), short(xs.most)];
  const names = series.length > 1 ? series.map(({ name }, i) => painted(name, i)).join("  ") : "";
  return [
    `${title}${names ? `  ${names}` : ""}`,
    ...lines,
    `${" ".repeat(margin)}└${"─".repeat(width)}`,
    `${" ".repeat(margin + 1)}${left}${right.padStart(Math.max(1, width - left.length))}`,
  ];
}

function short(value: number): string {
  if (Number.isInteger(value) && Math.abs(value) < 1e7) return String(value);
  return Math.abs(value) >= 1e-3 && Math.abs(value) < 1e5
    ? String(Number(value.toPrecision(3)))
    : value.toExponential(1);
}
