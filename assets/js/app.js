// Small behaviours of every page; each finds its elements by a data attribute.
import "htmx.org";

import "./frame.js";
import { on } from "./on.js";
import "./polled.js";
import "./search.js";

on("click", "[data-copy]", async (button) => {
  const source = button.dataset.copy || button.parentElement.querySelector("code, pre").textContent;
  await navigator.clipboard.writeText(source.trim());
  button.dataset.copied = "";
  button.setAttribute("aria-label", "Copied");
  setTimeout(() => {
    delete button.dataset.copied;
    button.setAttribute("aria-label", "Copy");
  }, 1500);
});

on("change", "[data-submit-on-change]", (field) => field.form.requestSubmit());

// Checked rows can be changed together; two to ten of them can be compared.
on("change", "[data-compare-box]", (box) => {
  const form = box.form;
  const count = form.querySelectorAll("[data-compare-box]:checked").length;
  const wake = (button, awake) => {
    if (!button) return;
    button.disabled = !awake;
    button.querySelector("[data-count]").textContent = count ? `(${count})` : "";
  };
  wake(document.querySelector("[data-compare-button]"), count >= 2 && count <= 10);
  wake(form.querySelector("[data-many-button]"), count > 0);
});
// What is checked stands in the address, so that a link shows a colleague the same selection.
on("change", "[data-compare-box]", (box) => {
  const address = new URL(location);
  address.searchParams.delete(box.name);
  for (const each of box.form.querySelectorAll("[data-compare-box]:checked"))
    address.searchParams.append(box.name, each.value);
  history.replaceState(null, "", address);
});
for (const box of document.querySelectorAll("[data-compare-box]"))
  if (new URLSearchParams(location.search).getAll(box.name).includes(box.value)) box.checked = true;
on("change", "[data-check-all]", (all) => {
  for (const box of all.form.querySelectorAll("[data-compare-box]")) box.checked = all.checked;
  all.form.querySelector("[data-compare-box]").dispatchEvent(new Event("change", { bubbles: true }));
});

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
  timeZoneName: "short",
});

function showViewersTimes() {
  for (const time of document.querySelectorAll("time[data-viewers]")) {
    time.textContent = there.format(new Date(time.dateTime));
  }
  for (const zone of document.querySelectorAll("[data-viewers-zone]")) {
    zone.textContent = there.resolvedOptions().timeZone;
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
