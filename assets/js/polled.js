// What is replaced by a poll keeps the reader's place: scrolled elements with an id keep their position, a pane with
// [data-follows] that stands at its end goes on to the new end, and the focus comes back to links and buttons without
// an id (htmx itself brings it back to those with one).
const places = new Map(); // id -> {top, left, ends}
let focused = null; // finds the element that had the focus

// A page opens at the newest lines, and so follows them.
for (const pane of document.querySelectorAll("[data-follows]")) pane.scrollTo(0, pane.scrollHeight);

const stands = (pane) => pane.scrollTop + pane.clientHeight >= pane.scrollHeight - 4; // of a rounded line's height

function nameOf(element) {
  if (!element || element.id) return null;
  if (element.dataset.copy) return `[data-copy="${CSS.escape(element.dataset.copy)}"]`;
  return element.matches("a[href]") ? `a[href="${CSS.escape(element.getAttribute("href"))}"]` : null;
}

document.addEventListener("htmx:before:swap", (event) => {
  places.clear();
  const targets = (event.detail.tasks ?? []).map((task) => task.target).filter((each) => each instanceof Element);
  const scrolled = targets.flatMap((target) => [...target.querySelectorAll("[id]")]);
  for (const each of [...scrolled, ...document.querySelectorAll("[data-follows]")])
    if (each.scrollTop || each.scrollLeft || "follows" in each.dataset)
      places.set(each.id, { top: each.scrollTop, left: each.scrollLeft, ends: "follows" in each.dataset && stands(each) });
  const active = document.activeElement;
  focused = targets.some((target) => target.contains(active)) ? nameOf(active) : null;
});

// Before the first paint of what is new.
document.addEventListener("htmx:before:settle", () => {
  for (const [id, { top, left, ends }] of places) {
    const element = document.getElementById(id);
    if (element) element.scrollTo(left, ends ? element.scrollHeight : top);
  }
  for (const pane of document.querySelectorAll("[data-follows]"))
    if (!places.has(pane.id)) pane.scrollTo(0, pane.scrollHeight);
  if (focused && document.activeElement === document.body) {
    document.querySelector(focused)?.focus({ preventScroll: true });
  }
});
