// Small behaviours of every page; each finds its elements by a data attribute.
import "htmx.org";

import "./frame.js";
import { on } from "./on.js";
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

// Two to ten checked versions can be compared.
on("change", "[data-compare-box]", (box) => {
  const form = box.form;
  const count = form.querySelectorAll("[data-compare-box]:checked").length;
  const button = document.querySelector("[data-compare-button]");
  button.disabled = count < 2 || count > 10;
  button.querySelector("[data-count]").textContent = count ? `(${count})` : "";
});

// A destructive button wakes up when the name was typed.
on("input", "[data-confirm]", (field) => {
  field.form.querySelector("[type=submit]").disabled = field.value !== field.dataset.confirm;
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
refreshTimes();
setInterval(refreshTimes, 20_000);
document.addEventListener("htmx:after:swap", () => refreshTimes());

// A page that comes back from the browser's history has boxes checked and names typed already.
addEventListener("pageshow", () => {
  const again = (selector, kind) =>
    document.querySelector(selector)?.dispatchEvent(new Event(kind, { bubbles: true }));
  again("[data-compare-box]", "change");
  again("[data-confirm]", "input");
});
