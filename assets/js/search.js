// Search from anywhere: / or Ctrl-K opens a dialog; a combobox over the list that the server sends.
import htmx from "htmx.org";

import { on } from "./on.js";

let dialog = null;

function build() {
  const template = document.getElementById("search-everywhere");
  if (!template) return null;
  const made = template.content.firstElementChild.cloneNode(true);
  document.body.append(made);
  htmx.process(made);
  const input = made.querySelector("input");
  made.querySelector("button").addEventListener("click", () => made.close());
  made.addEventListener("click", (event) => event.target === made && made.close());
  input.addEventListener("keydown", choose);
  made.addEventListener("htmx:after:swap", shown);
  return made;
}

function open() {
  dialog ??= build();
  if (!dialog || document.querySelector("dialog[open]")) return;
  dialog.showModal();
  const input = dialog.querySelector("input");
  input.focus();
  input.select();
}

const options = () => [...dialog.querySelectorAll("[role=option]")];

function select(option) {
  const input = dialog.querySelector("input");
  for (const each of options()) each.setAttribute("aria-selected", String(each === option));
  if (option) {
    input.setAttribute("aria-activedescendant", option.id);
    option.scrollIntoView({ block: "nearest" });
  } else input.removeAttribute("aria-activedescendant");
}

function shown() {
  const all = options();
  dialog.querySelector("input").setAttribute("aria-expanded", String(all.length > 0));
  dialog.querySelector("[data-search-said]").textContent =
    dialog.querySelector("[data-said]")?.dataset.said ?? "";
  select(all[0]);
}

function choose(event) {
  const all = options();
  const at = all.findIndex((each) => each.getAttribute("aria-selected") === "true");
  const steps = { ArrowDown: at + 1, ArrowUp: at < 0 ? -1 : at - 1, PageDown: Math.min(at + 6, all.length - 1), PageUp: Math.max(at - 6, 0) };
  if (event.key in steps && all.length) {
    event.preventDefault();
    select(all[(steps[event.key] + all.length) % all.length]);
  } else if (event.key === "Enter") {
    event.preventDefault();
    all[at]?.click();
  }
}

on("click", "[data-search-open]", (link, event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  open();
});

const writes = (element) => element.closest?.("input, textarea, select, [contenteditable]");

document.addEventListener("keydown", (event) => {
  const everywhere = (event.ctrlKey || event.metaKey) && !event.shiftKey && event.key.toLowerCase() === "k";
  const slash = event.key === "/" && !event.ctrlKey && !event.metaKey && !event.altKey && !writes(event.target);
  if ((!everywhere && !slash) || !document.getElementById("search-everywhere")) return;
  event.preventDefault();
  open();
});
