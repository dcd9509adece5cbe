// Line charts of metric series: <figure data-chart="id of a JSON script"> with {key, steps, values}, and, where a point
// can be opened, {axis, link}: the link ends where the step follows.
import uPlot from "uplot";

const read = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const numbers = { NaN: null, Infinity: null, "-Infinity": null };
const charts = [];

function draw(figure) {
  const data = JSON.parse(document.getElementById(figure.dataset.chart).textContent);
  const ordered = data.steps
    .map((step, index) => [step, data.values[index] in numbers ? null : data.values[index]])
    .sort((a, b) => a[0] - b[0]);
  const axis = {
    stroke: read("--tblr-secondary-color") || "#667382",
    grid: { stroke: read("--tblr-border-color"), width: 1 },
    ticks: { show: false },
    font: "11px Inter Variable, sans-serif",
    size: 44,
  };
  const options = {
    width: figure.clientWidth,
    height: 190,
    cursor: { y: false, points: { size: 7 } },
    legend: { live: true },
    scales: { x: { time: false } },
    // Steps and versions are whole numbers.
    axes: [{ ...axis, size: 30, incrs: [1, 2, 5].flatMap((n) => [...Array(12).keys()].map((e) => n * 10 ** e)).sort((a, b) => a - b) }, axis],
    series: [
      { label: data.axis || "step" },
      {
        label: data.key,
        stroke: read("--tblr-primary"),
        width: 2,
        points: { show: ordered.length < (data.link ? 200 : 60), size: data.link ? 7 : 5 },
        spanGaps: true,
      },
    ],
  };
  const chart = new uPlot(options, [ordered.map((p) => p[0]), ordered.map((p) => p[1])], figure);
  if (data.link) {
    // A point is a version: a click opens its page.
    chart.over.classList.add("clickable");
    chart.over.addEventListener("click", () => {
      const point = ordered[chart.cursor.idx];
      if (point) location.assign(`${data.link}${point[0]}/`);
    });
  }
  return chart;
}

function drawAll() {
  for (const chart of charts.splice(0)) chart.destroy();
  for (const figure of document.querySelectorAll("[data-chart]")) charts.push(draw(figure));
}
drawAll();
document.addEventListener("theme", drawAll);
addEventListener("resize", () => {
  for (const chart of charts) chart.setSize({ width: chart.root.parentElement.clientWidth, height: 190 });
});
