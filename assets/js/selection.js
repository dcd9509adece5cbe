// Rows that are checked, [data-compare-box]: all of them stand in the address, so that a link shows a colleague the same
// selection, and those of a list's other pages stand there alone.
import { on } from "./on.js";

const all = () => [...document.querySelectorAll("[data-compare-box]")];
const nameOf = () => document.querySelector("[data-compare-box]")?.name ?? document.querySelector("[data-selects]")?.dataset.selects;
const asked = (name) => [...new Set(new URLSearchParams(location.search).getAll(name))];

// Those of other pages, as they stand in the address, and then those of this page.
function selected() {
  const boxes = all();
  const here = new Set(boxes.map((box) => box.value));
  const others = asked(nameOf()).filter((value) => !here.has(value));
  return [...others, ...boxes.filter((box) => box.checked).map((box) => box.value)];
}

function withSelection(address, name, values) {
  address.searchParams.delete(name);
  for (const value of values) address.searchParams.append(name, value);
  return address;
}

// Checked rows can be changed together; two to ten of them can be compared.
function show(form, count) {
  const wake = (button, awake) => {
    if (!button) return;
    button.disabled = !awake;
    button.querySelector("[data-count]").textContent = count ? `(${count})` : "";
  };
  wake(document.querySelector("[data-compare-button]"), count >= 2 && count <= 10);
  wake(form.querySelector("[data-many-button]"), count > 0);
}

// Links that show this list otherwise: another page, order or filter.
function keep(name, values) {
  for (const link of document.querySelectorAll(".pages a, a.sorter, [data-selects] a"))
    link.href = withSelection(new URL(link.href), name, values);
}

on("change", "[data-compare-box]", (box) => {
  const values = selected();
  show(box.form, values.length);
  history.replaceState(null, "", withSelection(new URL(location), box.name, values));
  keep(box.name, values);
});
on("change", "[data-check-all]", (all) => {
  for (const box of all.form.querySelectorAll("[data-compare-box]")) box.checked = all.checked;
  all.form.querySelector("[data-compare-box]").dispatchEvent(new Event("change", { bubbles: true }));
});

// Compare sends all of them, and a form that shows this list anew keeps them.
document.addEventListener("formdata", ({ target: form, formData }) => {
  const name = nameOf();
  if (!name || form.method !== "get") return;
  const compares = form.querySelector("[data-compare-box]");
  if (!compares && new URL(form.action).pathname !== location.pathname) return;
  formData.delete(name);
  for (const value of selected()) formData.append(name, value);
});

for (const box of all()) box.checked ||= asked(box.name).includes(box.value);
if (nameOf()) keep(nameOf(), selected());
