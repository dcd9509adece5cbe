// Small behaviours of every page; each finds its elements by a data attribute.
import "htmx.org";

import "./copy.js";
import "./forms.js";
import "./frame.js";
import { on } from "./on.js";
import "./polled.js";
import "./search.js";
import "./selection.js";
import "./sure.js";

on("change", "[data-submit-on-change]", (field) => field.form.requestSubmit());

// A destructive button wakes up when the name was typed.
on("input", "[data-confirm]", (field) => {
  field.form.querySelector("[type=submit]").disabled = field.value !== field.dataset.confirm;
});

// What is cut shows the whole on hover.
on("mouseover", ".cut, .cut-long, .chip, .crumbs > *, .head h1", (text) => {
  if (!text.title && (text.scrollWidth > text.clientWidth || text.scrollHeight > text.clientHeight + 2))
    text.title = text.textContent.trim();
});

on("click", "[data-tab]", (tab) => history.replaceState(null, "", tab.hash));

const units = [
  [60, "second", 1],
  [3600, "minute", 60],
  [86400, "hour", 3600],
  [2592000, "day", 86400],
  [31536000, "month", 2592000],
  [Infinity, "year", 31536000],
];
const words = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "long" });

function refreshTimes(root = document) {
  for (const time of root.querySelectorAll("time[data-relative]")) {
    const seconds = (new Date(time.dateTime) - Date.now()) / 1000;
    const [, unit, size] = units.find(([limit]) => Math.abs(seconds) < limit);
    time.textContent = Math.abs(seconds) < 5 ? "just now" : words.format(Math.round(seconds / size), unit);
  }
}
// Only the browser knows the viewer's time zone.
const there = new Intl.DateTimeFormat("en-GB", {
  weekday: "short",
  day: "numeric",
  month: "short",
  hour: "2-digit",
  minute: "2-digit",
});

function showViewersTimes() {
  for (const time of document.querySelectorAll("time[data-viewers]")) {
    time.textContent = there.format(new Date(time.dateTime));
  }
  const own = there.resolvedOptions().timeZone;
  for (const zone of document.querySelectorAll("[data-viewers-zone]")) {
    zone.textContent = own;
    for (const cell of zone.closest("table").querySelectorAll(".yours")) cell.hidden = zone.closest("table").dataset.zone === own;
  }
}

function refreshAllTimes() {
  refreshTimes();
  showViewersTimes();
}
refreshAllTimes();
setInterval(refreshTimes, 20_000);
document.addEventListener("htmx:after:swap", refreshAllTimes);

// A page that comes back from the browser's history has boxes checked and names typed already.
addEventListener("pageshow", () => {
  const again = (selector, kind) =>
    document.querySelector(selector)?.dispatchEvent(new Event(kind, { bubbles: true }));
  again("[data-compare-box]", "change");
  again("[data-confirm]", "input");
});
