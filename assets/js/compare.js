// Charts of things compared: training curves, final values, scatter and parallel coordinates. What is chosen stands in
// the address, so that a link shows a colleague the same.
import { COLORS, lines, plain } from "./plot.js";

const card = document.querySelector("[data-comparison]");
const data = JSON.parse(document.getElementById(card.dataset.comparison).textContent);
const bar = card.querySelector("[data-chart-bar]");
const canvas = card.querySelector("[data-chart-canvas]");
const legend = card.querySelector("[data-chart-legend]");
const tabs = [...card.querySelectorAll("[data-chart-tab]")];
const asked = new URLSearchParams(location.search);
const read = new Map(); // key -> promise of its series
const color = (index) => COLORS[index % COLORS.length];
const figures = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });
const written = (value) => (Math.abs(value) >= 1e6 || (value && Math.abs(value) < 1e-4) ? value.toExponential(2) : figures.format(value));
const metrics = data.axes.filter((axis) => axis.kind === "metric");
let chosen = asked.get("chart") || (data.curves.keys.length ? "curves" : "bars");
let chart = null;

// SVG, in pixels of the screen
const wide = (least) => Math.max(canvas.clientWidth, least);

function shape(name, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}
const text = (content, attributes) => shape("text", attributes, document.createTextNode(content));
const title = (content) => shape("title", {}, document.createTextNode(content));
// Names that differ at their ends are cut in the middle.
const cutInside = (name, length) => (name.length > length ? `${name.slice(0, length / 2 - 1)}…${name.slice(-length / 2)}` : name);
const cut = (name, length) => (name.length > length ? `${name.slice(0, length - 1)}…` : name);

function scale(values, from, to) {
  const known = values.filter((value) => value !== null);
  let [low, high] = [Math.min(...known), Math.max(...known)];
  if (low === high) [low, high] = [low - (Math.abs(low) / 10 || 1), high + (Math.abs(high) / 10 || 1)];
  return { low, high, at: (value) => from + ((value - low) / (high - low)) * (to - from) };
}

function say(sentence) {
  const line = document.createElement("p");
  line.className = "none";
  line.textContent = sentence;
  canvas.replaceChildren(line);
}

// Training curves
const fetched = (key) => {
  if (!read.has(key)) {
    const runs = [...new Set(data.curves.runs.filter(Boolean))];
    const query = new URLSearchParams([["points", data.curves.points], ["key", key], ...runs.map((run) => ["run", run])]);
    const answer = fetch(`${data.curves.address}?${query}`).then((found) => {
      if (!found.ok) throw new Error(found.statusText);
      return found.json();
    });
    answer.catch(() => read.delete(key));
    read.set(key, answer);
  }
  return read.get(key);
};

// Exponential moving average, corrected for its start as Kingma and Ba (2015) do.
function smoothed(values, weight) {
  let mean = 0;
  let power = 1;
  return values.map((value) => {
    if (value === null) return null;
    mean = weight * mean + (1 - weight) * value;
    power *= weight;
    return mean / (1 - power);
  });
}

async function curves() {
  if (!data.curves.keys.length) return say("None of these logged a metric more than once: there is no curve to draw.");
  const { key, x, smooth, log } = bar.elements;
  canvas.setAttribute("aria-busy", "true");
  const found = await fetched(key.value).catch(() => null);
  canvas.removeAttribute("aria-busy");
  if (chosen !== "curves") return;
  if (!found) return say("The curves could not be read. Try again in a moment.");
  const byRun = new Map(found.series.map((series) => [series.run_id, series]));
  const weight = Number(smooth.value);
  const shown = data.items.flatMap((item, index) => {
    const series = byRun.get(data.curves.runs[index]);
    if (!series?.steps.length) return [];
    const values = series.values.map(plain);
    const start = Math.min(...series.timestamps);
    const xs = x.value === "time" ? series.timestamps.map((time) => (time - start) / 60_000) : series.steps;
    return [{ label: item.name, xs, ys: weight ? smoothed(values, weight) : values, color: color(index) }];
  });
  canvas.replaceChildren();
  if (!shown.length) return say("None of these logged this metric.");
  chart = lines(canvas, shown, { axis: x.value === "time" ? "minutes" : "step", height: 320, log: log.checked, isWhole: x.value !== "time" });
}

// Bars of final values, a group per metric.
function bars() {
  if (!metrics.length) return say("There are no metrics to draw.");
  const groups = metrics.slice(0, 24);
  const [width, row, head, left] = [wide(320), 18, 26, Math.min(170, wide(320) * 0.36)];
  const height = groups.length * (head + row * data.items.length + 10);
  const svg = shape("svg", { width, height });
  let y = 0;
  for (const axis of groups) {
    const known = axis.values.filter((value) => value !== null);
    const most = Math.max(...known.map(Math.abs), Number.MIN_VALUE);
    svg.append(text(cut(axis.key, 80), { x: 0, y: y + 16, class: "strong" }));
    y += head;
    axis.values.forEach((value, index) => {
      const item = data.items[index];
      svg.append(text(cut(item.name, Math.floor(left / 7)), { x: left - 8, y: y + 12, "text-anchor": "end" }));
      if (value === null) svg.append(text("–", { x: left, y: y + 12 }));
      else {
        const length = Math.max(1, (Math.abs(value) / most) * (width - left - 90));
        svg.append(
          shape("rect", { x: left, y: y + 3, width: length, height: row - 6, rx: 2, fill: color(index), class: "bar-of" }, title(`${item.name}: ${axis.key} ${value}`)),
          text(written(value), { x: left + length + 6, y: y + 12 }),
        );
      }
      y += row;
    });
    y += 10;
  }
  canvas.replaceChildren(svg);
}

// Any two numbers against each other.
function scatter() {
  if (data.axes.length < 2) return say("A scatter needs two numbers; these have fewer.");
  const [across, up] = [data.axes[bar.elements.across.value], data.axes[bar.elements.up.value]];
  const both = data.items.map((item, index) => ({ item, index, x: across.values[index], y: up.values[index] })).filter((each) => each.x !== null && each.y !== null);
  if (!both.length) return say("None of these has both numbers.");
  const [width, height, left, bottom] = [wide(320), 340, 70, 40];
  const h = scale(both.map((each) => each.x), left + 14, width - 40);
  const v = scale(both.map((each) => each.y), height - bottom - 14, 20);
  const svg = shape("svg", { width, height });
  svg.append(
    shape("line", { x1: left, y1: height - bottom, x2: width - 20, y2: height - bottom, class: "rule" }),
    shape("line", { x1: left, y1: 8, x2: left, y2: height - bottom, class: "rule" }),
    text(cut(across.key, 60), { x: (width + left) / 2, y: height - 4, "text-anchor": "middle", class: "strong" }),
    text(cut(up.key, 60), { x: 4, y: 12, class: "strong" }),
    ...[h.low, h.high].map((value) => text(written(value), { x: h.at(value), y: height - bottom + 16, "text-anchor": "middle" })),
    ...[v.low, v.high].map((value) => text(written(value), { x: left - 8, y: v.at(value) + 4, "text-anchor": "end" })),
  );
  for (const { item, index, x, y } of both) {
    const right = h.at(x) > (left + width) / 2; // its name stands at the side where there is room
    svg.append(
      shape("a", { href: item.link }, shape("circle", { cx: h.at(x), cy: v.at(y), r: 6, fill: color(index) }, title(`${item.name}: ${across.key} ${x}, ${up.key} ${y}`))),
      text(cutInside(item.name, 24), { x: h.at(x) + (right ? -10 : 10), y: v.at(y) + 4, "text-anchor": right ? "end" : "start" }),
    );
  }
  canvas.replaceChildren(svg);
}

// An axis per number, a line per thing compared.
function parallel() {
  const axes = data.axes.filter((axis) => axis.values.filter((value) => value !== null).length > 1 && new Set(axis.values).size > 1).slice(0, 12);
  if (axes.length < 2) return say("Parallel coordinates need two numbers that differ; these have fewer.");
  const [top, bottom, edge] = [44, 250, 60];
  const width = wide(110 * axes.length);
  const gap = (width - 2 * edge) / (axes.length - 1);
  const svg = shape("svg", { width, height: 280 });
  const scales = axes.map((axis) => scale(axis.values, bottom, top));
  const x = (place) => edge + place * gap;
  axes.forEach((axis, place) =>
    svg.append(
      shape("line", { x1: x(place), y1: top, x2: x(place), y2: bottom, class: "rule" }),
      text(cut(axis.key, 22), { x: x(place), y: 14, "text-anchor": "middle", class: "strong" }, title(axis.key)),
      text(written(scales[place].high), { x: x(place), y: top - 8, "text-anchor": "middle" }),
      text(written(scales[place].low), { x: x(place), y: bottom + 18, "text-anchor": "middle" }),
    ),
  );
  data.items.forEach((item, index) => {
    const points = axes.map((axis, place) => (axis.values[index] === null ? null : [x(place), scales[place].at(axis.values[index])]));
    const path = points.map((point, place) => point && `${place && points[place - 1] ? "L" : "M"}${point.join(" ")}`).filter(Boolean).join("");
    svg.append(shape("path", { d: path, class: "line", stroke: color(index), opacity: 0.85 }, title(item.name)));
    for (const point of points.filter(Boolean)) svg.append(shape("circle", { cx: point[0], cy: point[1], r: 4, fill: color(index) }, title(item.name)));
  });
  canvas.replaceChildren(svg);
}

const kinds = { curves, bars, scatter, parallel };

function show() {
  chart?.destroy();
  chart = null;
  if (!(chosen in kinds)) chosen = "bars";
  for (const tab of tabs) {
    const open = tab.dataset.chartTab === chosen;
    tab.setAttribute("aria-selected", String(open));
    tab.tabIndex = open ? 0 : -1;
    if (open) canvas.setAttribute("aria-label", `${tab.textContent}; the numbers stand in the tables of this page`);
  }
  for (const label of bar.querySelectorAll("[data-for]")) label.hidden = label.dataset.for !== chosen;
  bar.hidden = ![...bar.querySelectorAll("[data-for]")].some((label) => !label.hidden);
  legend.hidden = chosen === "bars" || chosen === "curves"; // these name their own
  kinds[chosen]();
}

function keep() {
  const query = new URLSearchParams(location.search);
  query.set("chart", chosen);
  for (const name of ["key", "x", "smooth", "across", "up"]) query.set(name, bar.elements[name].value);
  bar.elements.log.checked ? query.set("log", "1") : query.delete("log");
  history.replaceState(null, "", `?${query}`);
}

const fill = (select, options) => select.replaceChildren(...options.map(([value, label]) => new Option(label, value)));
fill(bar.elements.key, data.curves.keys.map((key) => [key, key]));
fill(bar.elements.across, data.axes.map((axis, index) => [index, axis.key]));
fill(bar.elements.up, data.axes.map((axis, index) => [index, axis.key]));
if (data.axes.length > 1) bar.elements.up.value = "1";
for (const name of ["key", "x", "smooth", "across", "up"]) {
  const field = bar.elements[name];
  if (asked.get(name) && (field.type === "range" || [...field.options].some((option) => option.value === asked.get(name)))) field.value = asked.get(name);
}
bar.elements.log.checked = asked.get("log") === "1";

legend.append(
  ...data.items.map((item, index) => {
    const line = document.createElement("li");
    const link = document.createElement("a");
    const name = document.createElement("span");
    link.href = item.link;
    link.title = item.name;
    name.textContent = item.name;
    link.append(shape("svg", { viewBox: "0 0 12 12", "aria-hidden": "true" }, shape("circle", { cx: 6, cy: 6, r: 5, fill: color(index) })), name);
    line.append(link);
    return line;
  }),
);
for (const tab of tabs)
  tab.addEventListener("click", () => {
    chosen = tab.dataset.chartTab;
    show();
    keep();
  });
card.querySelector("[role=tablist]").addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const next = tabs[(tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length];
  next.focus();
  next.click();
});
bar.addEventListener("input", () => {
  show();
  keep();
});
bar.addEventListener("submit", (event) => event.preventDefault());
document.addEventListener("theme", show);
addEventListener("resize", () => (chart ? chart.setSize({ width: canvas.clientWidth, height: 320 }) : show()));
if (data.axes.length || data.curves.keys.length) {
  card.hidden = false;
  show();
}
