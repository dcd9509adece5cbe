// Line charts of metric series: <figure data-chart="id of a JSON script"> with {key, steps, values}, and, where a point
// can be opened, {axis, link}: the link ends where the step follows. [data-curves] holds the curves of a run: while the
// page says that it runs ([data-running]) those of the metrics that the page marks ([data-drawn]) are read anew.
import { accent, lines, plain, table } from "./plot.js";

const HEIGHT = 190;
const EVERY = 3000; // milliseconds
const charts = new Map(); // element -> {chart, data}

const seriesOf = (data) => [{ label: data.key, xs: data.steps, ys: data.values.map(plain), color: accent() }];

function draw(element, data) {
  charts.get(element)?.chart.destroy();
  const chart = lines(element, seriesOf(data), { axis: data.axis || "step", height: HEIGHT, big: Boolean(data.link) });
  if (data.link) {
    // A point is a version: a click opens its page.
    chart.over.classList.add("clickable");
    chart.over.addEventListener("click", () => {
      const step = chart.data[0][chart.cursor.idx];
      if (step !== undefined) location.assign(`${data.link}${step}/`);
    });
  }
  charts.set(element, { chart, data });
}

for (const element of document.querySelectorAll("[data-chart]"))
  draw(element, JSON.parse(document.getElementById(element.dataset.chart).textContent));
document.addEventListener("theme", () => charts.forEach(({ data }, element) => draw(element, data)));
addEventListener("resize", () =>
  charts.forEach(({ chart }, element) => chart.setSize({ width: element.clientWidth, height: HEIGHT })),
);

const curves = document.querySelector("[data-curves]");

function figureOf(key) {
  const label = `${key} over steps; the last values stand in the table of metrics`;
  const known = [...curves.querySelectorAll("[data-chart]")].find((each) => each.getAttribute("aria-label") === label);
  if (known) return known;
  const figure = document.createElement("figure");
  const caption = document.createElement("figcaption");
  const element = document.createElement("div");
  caption.textContent = key;
  element.dataset.chart = "";
  element.setAttribute("role", "img");
  element.setAttribute("aria-label", label);
  figure.append(caption, element);
  curves.querySelector(".charts").append(figure);
  curves.hidden = false;
  return element;
}

// A new metric may move another one to the next page of curves.
function dropOthers(keys) {
  for (const figure of curves.querySelectorAll("figure")) {
    if (keys.includes(figure.querySelector("figcaption").textContent)) continue;
    const element = figure.querySelector("[data-chart]");
    charts.get(element)?.chart.destroy();
    charts.delete(element);
    figure.remove();
  }
}

async function refresh() {
  const keys = [...document.querySelectorAll("[data-drawn]")].map((row) => row.dataset.metric);
  dropOthers(keys);
  if (keys.length && !document.hidden) {
    const query = new URLSearchParams([["run", curves.dataset.run], ["points", "1000"], ...keys.map((key) => ["key", key])]);
    const answer = await fetch(`${curves.dataset.curves}?${query}`);
    if (!answer.ok) return;
    for (const series of (await answer.json()).series) {
      if (series.steps.length < 2) continue;
      const element = figureOf(series.key);
      const held = charts.get(element);
      if (!held) draw(element, series);
      else if (held.data.total !== series.total || held.data.steps.length !== series.steps.length) {
        held.chart.setData(table(seriesOf(series)));
        held.data = series;
      }
    }
  }
}

async function follow() {
  const running = document.querySelector("[data-running]"); // gone once the run has ended: then once more
  await refresh().catch(() => {}); // the next one may go through
  if (running) setTimeout(follow, EVERY);
}
if (curves && document.querySelector("[data-running]")) setTimeout(follow, EVERY);
