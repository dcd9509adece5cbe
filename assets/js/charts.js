// Line charts. Only pages with charts load this. Sources: a JSON script (curves of a run), or cells of a table.
import uPlot from "uplot";

const HEIGHT = 180;
const TWIN_ROWS = 200;
const drawn = new Map();

const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Not finite values travel as strings; a chart leaves a gap for them. */
const point = (value) => (typeof value === "number" ? value : null);

const short = (value) => {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e7)) return value.toExponential(2);
  return String(Number(value.toPrecision(5)));
};

function axis(extra) {
  const line = { stroke: token("--chart-grid"), width: 1 };
  const font = "11px 'Inter Variable', sans-serif";
  return { stroke: token("--chart-text"), grid: line, ticks: { show: false }, font, ...extra };
}

function options(width, { name, dots }) {
  const accent = token("--chart-line");
  return {
    width,
    height: HEIGHT,
    scales: { x: { time: false } },
    legend: { show: true, live: true },
    cursor: { points: { size: 7 }, y: false },
    axes: [
      axis({ size: 26, gap: 4, space: 56, values: (_, ticks) => ticks.map(wholeOnly) }),
      axis({ size: 52, gap: 6, space: 34, values: (_, ticks) => ticks.map(short) }),
    ],
    series: [
      { label: dots ? "Version" : "Step", value: (_, v) => (v === null ? "–" : String(v)) },
      { label: name, stroke: accent, width: 1.5, points: { show: dots, size: 6, fill: accent }, value: (_, v) => short(v) },
    ],
  };
}

const wholeOnly = (tick) => (Number.isInteger(tick) ? String(tick) : "");

function draw(place, curve) {
  const { key, steps, values, dots = false, links = [] } = curve;
  const data = [steps, values.map(point)];
  place.replaceChildren();
  const chart = new uPlot(options(place.clientWidth, { name: key, dots: dots || steps.length < 3 }), data, place);
  if (links.length) {
    chart.over.classList.add("clickable");
    chart.over.addEventListener("click", () => {
      const href = links[chart.cursor.idx];
      if (href) location.assign(href);
    });
  }
  drawn.set(place, { chart, curve });
}

/** The table that says the same as the chart: made when it is opened, long series thinned to 200 rows. */
function fillTwin(details) {
  const body = details.querySelector("tbody");
  const found = drawn.get(details.closest("figure").querySelector("[data-plot]"));
  if (!found || body.childElementCount) return;
  const { steps, values } = found.curve;
  const stride = Math.max(1, Math.ceil(steps.length / TWIN_ROWS));
  for (let i = 0; i < steps.length; i += stride) {
    const row = body.insertRow();
    for (const text of [steps[i], values[i]]) {
      const cell = row.insertCell();
      cell.className = "num";
      cell.textContent = text;
    }
  }
}

function drawCurves(root) {
  for (const place of root.querySelectorAll("[data-plot][data-source]")) {
    const curves = JSON.parse(document.getElementById(place.dataset.source).textContent);
    draw(place, curves[Number(place.dataset.index)]);
  }
}

/** One chart for each metric of a table whose cells carry data-metric, data-x and data-value. */
function drawTrends(root) {
  for (const place of root.querySelectorAll("[data-trends]")) {
    const metrics = Map.groupBy(cells(place.dataset.trends), (cell) => cell.metric);
    const worth = [...metrics].filter(([, points]) => points.length > 1);
    place.closest("[data-chart-card]").hidden = worth.length === 0;
    place.replaceChildren();
    for (const [metric, points] of worth) trend(place, metric, points);
  }
}

function cells(table) {
  const found = document.querySelectorAll(`#${table} [data-metric][data-x][data-value]`);
  const points = [...found].map(({ dataset }) => ({
    metric: dataset.metric,
    x: Number(dataset.x),
    value: dataset.value === "" ? NaN : Number(dataset.value),
    href: dataset.href,
  }));
  return points.filter((each) => Number.isFinite(each.value)).sort((a, b) => a.x - b.x);
}

function trend(place, metric, points) {
  const figure = document.createElement("figure");
  const caption = document.createElement("figcaption");
  const plot = document.createElement("div");
  figure.className = "chart";
  caption.textContent = caption.title = metric;
  plot.className = "chart-plot";
  plot.setAttribute("aria-hidden", "true");
  figure.append(caption, plot);
  place.append(figure);
  const column = (name) => points.map((each) => each[name]);
  draw(plot, { key: metric, steps: column("x"), values: column("value"), links: column("href"), dots: true });
}

function scan() {
  for (const [place, { chart }] of drawn) {
    if (place.isConnected) continue;
    chart.destroy();
    drawn.delete(place);
  }
  drawCurves(document);
  drawTrends(document);
}

function fit() {
  for (const [place, { chart }] of drawn) chart.setSize({ width: place.clientWidth, height: HEIGHT });
}

document.addEventListener("toggle", (event) => event.target.matches("[data-twin]") && fillTwin(event.target), true);
document.addEventListener("htmx:after:swap", scan);
document.addEventListener("theme:change", () => drawn.forEach(({ curve }, place) => draw(place, curve)));
addEventListener("resize", fit);
scan();
