// The lineage graph: what leads through a node lights up, and the drawing is zoomed and moved.
const svg = document.querySelector("[data-lineage]");
const region = svg.closest(".lineage-card");
const full = svg.viewBox.baseVal;
const whole = { x: full.x, y: full.y, width: full.width, height: full.height };
const edges = [...svg.querySelectorAll("[data-from]")];
const nodes = new Map([...svg.querySelectorAll("[data-node]")].map((node) => [node.dataset.node, node]));

function follow(start, here, there) {
  const seen = new Set([start]);
  const queue = [start];
  while (queue.length) {
    const id = queue.pop();
    for (const edge of edges) {
      if (edge.dataset[here] === id && !seen.has(edge.dataset[there])) {
        seen.add(edge.dataset[there]);
        queue.push(edge.dataset[there]);
      }
    }
  }
  return seen;
}

function light(id) {
  const up = follow(id, "to", "from");
  const down = follow(id, "from", "to");
  svg.classList.add("dimmed");
  for (const [name, node] of nodes) node.classList.toggle("lit", up.has(name) || down.has(name));
  for (const edge of edges) {
    const { from, to } = edge.dataset;
    edge.classList.toggle("lit", (up.has(from) && up.has(to)) || (down.has(from) && down.has(to)));
  }
}

const dark = () => svg.classList.remove("dimmed");
for (const kind of ["pointerover", "focusin"])
  svg.addEventListener(kind, (event) => {
    const node = event.target.closest("[data-node]");
    node ? light(node.dataset.node) : dark();
  });
svg.addEventListener("pointerleave", dark);
svg.addEventListener("focusout", dark);

// Zooming keeps the middle where it is.
let scale = 1;
function show(factor) {
  scale = Math.min(Math.max(scale * factor, 0.1), 4);
  const [x, y] = [region.scrollLeft + region.clientWidth / 2, region.scrollTop + region.clientHeight / 2];
  svg.setAttribute("width", whole.width / scale);
  svg.setAttribute("height", whole.height / scale);
  region.scrollTo(x / factor - region.clientWidth / 2, y / factor - region.clientHeight / 2);
}
function fit() {
  const wanted = Math.max(whole.width / region.clientWidth, whole.height / (window.innerHeight * 0.7), 1);
  show(wanted / scale);
  region.scrollTo(0, 0);
}
const zoom = document.querySelector("[data-zoom]");
zoom.hidden = false;
zoom.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button?.dataset.zoomBy) show(Number(button.dataset.zoomBy));
  else if (button) fit();
});
region.addEventListener("keydown", (event) => {
  const act = { "+": () => show(0.8), "-": () => show(1.25), 0: fit }[event.key];
  if (act && !event.ctrlKey && !event.metaKey) {
    act();
    event.preventDefault();
  }
});
// What is a little too wide is made to fit; else what was asked for stands in the middle at first.
const wide = whole.width / region.clientWidth;
if (wide > 1 && wide <= 1.6) show(wide);
const center = svg.querySelector(".center rect");
if (center) {
  region.scrollLeft = center.x.baseVal.value - region.clientWidth / 2 + 100;
  region.scrollTop = center.y.baseVal.value - region.clientHeight / 2;
}
