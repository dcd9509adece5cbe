// Charts of an endpoint: [data-traffic] names where its figures are read, [data-traffic-chart] what each one shows.
// They are read anew while the page is looked at.
import { COLORS, accent, lines, table } from "./plot.js";

const HEIGHT = 170;
const EVERY = 10_000; // milliseconds
const section = document.querySelector("[data-traffic]");
const charts = new Map(); // element -> {chart, series}
let span = [0, 1]; // the seconds that all charts show
const GRID = { axis: "at", height: HEIGHT, span: () => span };

const seconds = (at) => new Date(at) / 1000;

// What nobody asked in is 0 requests, and a hole where there is nothing to tell.
function spread(found) {
  const step = found.step_seconds;
  const known = new Map(found.series.map((point) => [Math.round(seconds(point.at) / step), point.counts]));
  const last = Math.floor(span[1] / step);
  const slots = [...Array(Math.ceil((found.hours * 3600) / step)).keys()].map((back) => last - back).reverse();
  return slots.map((slot) => ({ x: slot * step, counts: known.get(slot) }));
}

function seriesOf(kind, found) {
  const points = spread(found);
  const line = (label, color, read) => ({ label, color, xs: points.map((p) => p.x), ys: points.map(({ counts }) => read(counts)) });
  if (kind === "requests") return [line("requests/s", accent(), (c) => (c ? c.requests / found.step_seconds : found.counts.requests ? 0 : null))];
  if (kind === "errors") return [line("% errors", COLORS[7], (c) => (c ? c.error_rate * 100 : null))];
  if (kind === "latency")
    return ["p50", "p95", "p99"].map((name, index) => line(name, COLORS[index], (c) => (c ? c[`${name}_ms`] : null)));
  const xs = [...found.replicas.map((p) => seconds(p.at)), span[1]];
  const last = found.replicas.at(-1);
  const held = (label, color, name) => ({ label, color, xs, ys: [...found.replicas.map((p) => p[name]), last[name]] });
  return last ? [held("ready", COLORS[2], "ready"), held("wanted", COLORS[8], "wanted")] : [];
}

function draw(element, series) {
  const held = charts.get(element);
  const any = series.some((each) => each.ys.some((y) => y !== null));
  element.closest("figure").hidden = !any;
  if (!any) return;
  if (held) {
    held.chart.setData(table(series));
    held.series = series;
  } else charts.set(element, { chart: lines(element, series, GRID), series });
}

async function refresh() {
  if (document.hidden) return;
  const answer = await fetch(section.dataset.traffic);
  if (!answer.ok) return;
  const found = await answer.json();
  const now = Date.now() / 1000;
  span = [now - found.hours * 3600, now];
  const empty = section.querySelector("[data-traffic-none]");
  if (empty) empty.hidden = found.counts.requests > 0 || found.replicas.length > 0;
  for (const element of section.querySelectorAll("[data-traffic-chart]"))
    draw(element, seriesOf(element.dataset.trafficChart, found));
}

async function follow() {
  await refresh().catch(() => {}); // the next one may go through
  setTimeout(follow, EVERY);
}

document.addEventListener("theme", () => {
  for (const [element, held] of charts) {
    held.chart.destroy();
    charts.set(element, { ...held, chart: lines(element, held.series, GRID) });
  }
});
addEventListener("resize", () => charts.forEach(({ chart }, element) => chart.setSize({ width: element.clientWidth, height: HEIGHT })));
if (section) follow();
