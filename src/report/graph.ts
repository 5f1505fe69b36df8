/** The graph of a run's stages as SVG: a box for each, an arrow for what reads what, the first at the left. */
import { escaped } from "./escape";
import type { StageReport } from "./run";

const [WIDTH, HEIGHT, GAP_X, GAP_Y] = [168, 52, 44, 16];

/** `lines`: what stands below a stage's name. */
export function graphSvg(stages: readonly StageReport[], lineOf: (stage: StageReport) => string): string {
  const names = new Map(stages.map((stage) => [stage.name, stage]));
  const levels = new Map<string, number>();
  const levelOf = ({ name, reads }: StageReport, open = new Set<string>()): number => {
    const known = levels.get(name);
    if (known !== undefined || open.has(name)) return known ?? 0;
    open.add(name);
    const before = reads.flatMap(({ name: of }) =>
      names.has(of) && of !== name ? [levelOf(names.get(of)!, open)] : [],
    );
    const level = before.length > 0 ? 1 + Math.max(...before) : 0;
    levels.set(name, level);
    return level;
  };
  for (const stage of stages) levelOf(stage);
  const columns = Map.groupBy(stages, ({ name }) => levels.get(name)!);
  const places = new Map<string, readonly [x: number, y: number]>();
  for (const [level, column] of columns)
    for (const [i, { name }] of column.entries()) places.set(name, [level * (WIDTH + GAP_X), i * (HEIGHT + GAP_Y)]);
  const [right, bottom] = [0, 1].map((axis) => Math.max(...[...places.values()].map((place) => place[axis]!)));
  const arrows = stages.flatMap(({ name, reads }) => {
    const sources = new Set(reads.map(({ name: of }) => of).filter((of) => of !== name && places.has(of)));
    return [...sources].map((of) => arrow(places.get(of)!, places.get(name)!));
  });
  const [width, height] = [right! + WIDTH + 4, bottom! + HEIGHT + GAP_Y + 4];
  const boxes = stages.map((stage) => {
    const [x, y] = places.get(stage.name)!;
    return `<a href="#${encodeURIComponent(stage.name)}"><g class="${stage.state.replaceAll(" ", "-")}"><rect x="${x}" y="${y}" width="${WIDTH}" height="${HEIGHT}" rx="8"/><text x="${x + 12}" y="${y + 22}" class="name">${escaped(stage.name)}<tspan class="kind"> ${escaped(stage.kind === stage.name ? "" : stage.kind)}</tspan></text><text x="${x + 12}" y="${y + 40}" class="line">${escaped(cut(lineOf(stage)))}</text></g></a>`;
  });
  return `<svg class="graph" viewBox="-2 -2 ${width} ${height}" width="${width}" role="img" aria-label="the stages and what they read">${arrows.join("")}${boxes.join("")}</svg>`;
}

/** What a box has room for. */
const cut = (line: string) => (line.length > 28 ? `${line.slice(0, 27)}…` : line);

function arrow([ax, ay]: readonly [number, number], [bx, by]: readonly [number, number]): string {
  const [x1, y1, x2, y2] = [ax + WIDTH, ay + HEIGHT / 2, bx, by + HEIGHT / 2];
  const bend = (x2 - x1) / 2;
  // What passes a column by goes below its box.
  if (x2 - x1 > GAP_X) {
    const below = Math.max(ay, by) + HEIGHT + GAP_Y / 2;
    return `<path class="arrow" d="M${x1} ${y1}C${x1 + GAP_X / 2} ${y1} ${x1 + GAP_X / 2} ${below} ${x1 + GAP_X} ${below}L${x2 - GAP_X} ${below}C${x2 - GAP_X / 2} ${below} ${x2 - GAP_X / 2} ${y2} ${x2 - 5} ${y2}m-5 -4l5 4l-5 4"/>`;
  }
  return `<path class="arrow" d="M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2 - 5} ${y2}m-5 -4l5 4l-5 4"/>`;
}
