// The frame: colours, the menu on phones, menus that close again, and toasts.
import htmx from "htmx.org";

import { on } from "./on.js";

const root = document.documentElement;
const system = matchMedia("(prefers-color-scheme: dark)");

function kept() {
  try {
    return localStorage.getItem("theme") ?? "system";
  } catch {
    return "system"; // Storage is switched off: a choice lasts for this page.
  }
}

function wear(choice) {
  try {
    if (choice === "system") localStorage.removeItem("theme");
    else localStorage.setItem("theme", choice);
  } catch {
    // as above
  }
  show(choice);
}

function show(choice) {
  const theme = choice === "system" ? (system.matches ? "dark" : "light") : choice;
  for (const button of document.querySelectorAll("[data-theme]"))
    button.setAttribute("aria-pressed", String(button.dataset.theme === choice));
  if (root.dataset.bsTheme === theme) return;
  root.dataset.bsTheme = theme;
  document.dispatchEvent(new Event("theme"));
}

on("click", "[data-theme-switch]", () => wear(root.dataset.bsTheme === "dark" ? "light" : "dark"));
on("click", "[data-theme]", (button) => wear(button.dataset.theme));
system.addEventListener("change", () => kept() === "system" && show("system"));
show(kept());

// The drawer on phones: what lies behind it cannot be reached, Escape closes it.
const burger = document.querySelector(".burger");

function openDrawer(open) {
  burger.setAttribute("aria-expanded", String(open));
  document.getElementById("content").inert = open;
  if (open) document.querySelector("#drawer :is(a, summary, button)")?.focus();
}

const drawerIsOpen = () => burger?.getAttribute("aria-expanded") === "true";
on("click", ".burger", () => openDrawer(!drawerIsOpen()));
matchMedia("(min-width: 768px)").addEventListener("change", () => drawerIsOpen() && openDrawer(false));

// Menus
const openMenus = () => document.querySelectorAll("details[data-menu][open]");

document.addEventListener("click", (event) => {
  for (const menu of openMenus()) if (!menu.contains(event.target)) menu.open = false;
});
document.addEventListener("focusin", (event) => {
  for (const menu of openMenus()) if (!menu.contains(event.target)) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || document.querySelector("dialog[open]")) return;
  const [menu] = openMenus();
  if (menu) {
    menu.open = false;
    menu.querySelector("summary").focus();
  } else if (drawerIsOpen()) {
    openDrawer(false);
    burger.focus();
  }
});
on("keydown", "details[data-menu]", (menu, event) => {
  if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
  const items = [...menu.querySelectorAll("summary, .menu :is(a, button, input)")];
  const next = items.indexOf(document.activeElement) + (event.key === "ArrowDown" ? 1 : -1);
  items[(next + items.length) % items.length]?.focus();
  event.preventDefault();
});

// A menu whose content the server has is read when it is opened first.
document.addEventListener(
  "toggle",
  (event) => {
    const lazy = event.target.matches?.("details[data-menu][open]") && event.target.querySelector("[data-lazy]");
    if (!lazy) return;
    const address = lazy.dataset.lazy;
    delete lazy.dataset.lazy;
    htmx.ajax("GET", address, { target: lazy, swap: "innerHTML" }).then(() => lazy.querySelector("input")?.focus());
  },
  true,
);

// Toasts: the server sends HX-Trigger: {"toast": {"message": …, "kind": "good" or "bad"}}.
export function toast(message, kind = "good") {
  const lines = document.querySelectorAll(".toast-line > span");
  if ([...lines].some((each) => each.textContent === message)) return; // a poll repeats itself
  const line = document.createElement("div");
  line.className = `toast-line toast-${kind}`;
  const text = document.createElement("span");
  text.textContent = message;
  const close = document.createElement("button");
  close.type = "button";
  close.setAttribute("aria-label", "Close this message");
  close.textContent = "×";
  close.addEventListener("click", () => line.remove());
  line.append(text, close);
  document.getElementById("toasts").append(line);
  if (kind === "good") setTimeout(() => line.matches(":hover, :focus-within") || line.remove(), 6000);
}

document.addEventListener("toast", (event) => toast(event.detail.message, event.detail.kind));
document.addEventListener("htmx:response:error", (event) => {
  if (!event.detail?.ctx?.hx?.trigger) toast("The server refused this. Reload the page and try again.", "bad");
});
document.addEventListener("htmx:error", (event) => {
  const quiet = event.target.closest?.("[data-quiet]") || event.detail?.ctx?.sourceElement?.closest?.("[data-quiet]");
  if (!quiet) toast("The server cannot be reached. Try again in a moment.", "bad");
});

// On a phone the tab that is open may lie outside.
document.querySelector(".tabs [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
