// What all charts share: colours of the theme, axes, and a line chart of several series.
import uPlot from "uplot";

export const COLORS = ["#4263eb", "#e8590c", "#2b9a66", "#c2255c", "#845ef7", "#b08900", "#1098ad", "#e03131", "#74808f", "#6a9c1f"];

const read = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const notFinite = { NaN: null, Infinity: null, "-Infinity": null };
const whole = [1, 2, 5].flatMap((n) => [...Array(12).keys()].map((e) => n * 10 ** e)).sort((a, b) => a - b);

export const plain = (value) => (value in notFinite ? null : value);
export const accent = () => read("--tblr-primary");

const DAY = 86_400;
const moment = (seconds, options) => new Date(seconds * 1000).toLocaleString(document.documentElement.lang, { hourCycle: "h23", ...options });
// The day at midnight and on axes of days, else the time.
const told = (_, ticks, __, ___, step) =>
  ticks.map((tick) =>
    step >= DAY || new Date(tick * 1000).getHours() + new Date(tick * 1000).getMinutes() === 0
      ? moment(tick, { day: "numeric", month: "short" })
      : moment(tick, { hour: "2-digit", minute: "2-digit", ...(step < 60 ? { second: "2-digit" } : {}) }),
  );

const fromZero = (_, __, most) => [0, most > 0 ? most * 1.1 : 1];

// Which points get a dot: each of a few; of many, those that stand alone between holes, where no line shows them.
const dots = (ys, most, holes) => {
  const there = (at) => ys[at] !== null && ys[at] !== undefined;
  const all = [...ys.keys()].filter(there);
  return all.length < most ? all : holes ? all.filter((at) => !there(at - 1) && !there(at + 1)) : null;
};

// Lines over one axis. `series`: [{label, xs, ys, color}]; `whole`: x is a step or a number of a version; `span`: x is
// the time in seconds, a function says from when to when, and the line has holes where nothing is known.
export function lines(element, series, { axis, height, log = false, isWhole = true, big = false, span = null }) {
  const style = {
    stroke: read("--tblr-secondary-color") || "#667382",
    grid: { stroke: read("--tblr-border-color"), width: 1 },
    ticks: { show: false },
    font: "11px Inter Variable, sans-serif",
    size: 52,
  };
  const x = { ...style, size: 30, ...(span ? { values: told } : isWhole ? { incrs: whole } : {}) };
  const options = {
    width: element.clientWidth,
    height,
    cursor: { y: false, points: { size: 7 } },
    legend: { live: true },
    scales: { x: span ? { time: true, range: span } : { time: false }, y: log ? { distr: 3 } : span ? { range: fromZero } : {} },
    axes: [x, style],
    series: [
      { label: axis, ...(span ? { value: (_, at) => (at === null ? "--" : moment(at, { dateStyle: "medium", timeStyle: "medium" })) } : {}) },
      ...series.map((each) => ({
        label: each.label,
        stroke: each.color,
        width: 2,
        points: { show: false, filter: (chart, index) => dots(chart.data[index], big ? 200 : 60, span), size: big ? 7 : 5 },
        spanGaps: !span,
      })),
    ],
  };
  return new uPlot(options, table(series, log), element);
}

// One column of x and one of y per series, ordered, holes where a series has no point.
export function table(series, log = false) {
  const shown = (y) => (log && !(y > 0) ? null : y);
  const tables = series.map(({ xs, ys }) => {
    const at = new Map(xs.map((x, index) => [x, shown(ys[index])])); // the last point of a step counts
    const ordered = [...at.keys()].sort((a, b) => a - b);
    return [ordered, ordered.map((x) => at.get(x))];
  });
  return tables.length === 1 ? tables[0] : uPlot.join(tables);
}
