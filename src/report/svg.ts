/** Curves as SVG, drawn by echarts on this side: they are seen without JavaScript. Text and axes have the page's colour. */
import type { Chart } from "./series";

export interface Size {
  readonly width: number;
  readonly height: number;
}

/** Seen on white and on black. */
const COLOURS = ["#3b82f6", "#f59e0b", "#10b981", "#ef4444", "#a855f7", "#14b8a6"];

/** Asked for only here: 600 KB that no other command needs. */
async function library() {
  const [core, charts, components, renderers] = await Promise.all([
    import("echarts/core"),
    import("echarts/charts"),
    import("echarts/components"),
    import("echarts/renderers"),
  ]);
  core.use([
    charts.LineChart,
    components.GridComponent,
    components.LegendComponent,
    components.TitleComponent,
    components.AriaComponent,
    renderers.SVGRenderer,
  ]);
  return core;
}

export async function svgOf({ title, x, series }: Chart, { width, height }: Size): Promise<string> {
  const { init } = await library();
  const chart = init(null, null, { renderer: "svg", ssr: true, width, height });
  try {
    const muted = { color: "currentColor", opacity: 0.7, fontSize: 11 };
    const line = { lineStyle: { color: "currentColor", opacity: 0.15 } };
    const axis = { nameTextStyle: muted, axisLabel: muted, axisLine: line, axisTick: { show: false }, splitLine: line };
    chart.setOption({
      animation: false,
      aria: { enabled: true },
      color: COLOURS,
      textStyle: { fontFamily: "inherit" },
      title: { text: title, textStyle: { color: "currentColor", fontSize: 13, fontWeight: 600 }, left: 0, top: 0 },
      legend:
        series.length > 1
          ? { left: 0, top: 18, icon: "rect", itemWidth: 12, itemHeight: 3, itemGap: 20, textStyle: muted }
          : undefined,
      grid: { left: 8, right: 12, top: series.length > 1 ? 46 : 34, bottom: 8 },
      xAxis: {
        type: "value",
        name: x === "step" ? "" : x,
        nameLocation: "middle",
        nameGap: 22,
        min: "dataMin",
        max: "dataMax",
        ...axis,
        splitLine: { show: false },
      },
      yAxis: { type: "value", scale: true, ...axis },
      series: series.map(({ name, points }) => ({
        type: "line",
        name,
        data: points.map((point) => [...point]),
        showSymbol: points.length < 30,
        symbolSize: 5,
        lineStyle: { width: 1.6 },
      })),
    });
    // Hover classes, and clips by numbers that count all drawings of this process: nothing that a page needs.
    return chart
      .renderToSVGString()
      .replace(/ (?:id|class|clip-path)="[^"]*"/g, "")
      .replace(/<(style|defs).*?<\/\1>/gs, "");
  } finally {
    // Without this the process never ends.
    chart.dispose();
  }
}
