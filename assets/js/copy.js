// Copies what a button with [data-copy] names, or the code beside it.
import { toast } from "./frame.js";
import { on } from "./on.js";

// Plain HTTP has no clipboard but this machine's own address: there a selected text is copied as by hand.
function copyByHand(text, button) {
  const field = document.createElement("textarea");
  field.value = text;
  field.readOnly = true;
  field.className = "visually-hidden";
  (button.closest("dialog") ?? document.body).append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  button.focus({ preventScroll: true });
  return done;
}

async function copied(text, button) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyByHand(text, button); // there is no clipboard, or it is not allowed
  }
}

on("click", "[data-copy]", async (button) => {
  const source = button.dataset.copy || button.parentElement.querySelector("code, pre").textContent;
  if (!(await copied(source.trim(), button))) {
    toast("The browser does not let this page copy. Select the text and copy it.", "bad");
    return;
  }
  if ("copied" in button.dataset) return;
  const label = button.getAttribute("aria-label");
  button.dataset.copied = "";
  button.setAttribute("aria-label", "Copied");
  setTimeout(() => {
    delete button.dataset.copied;
    button.setAttribute("aria-label", label);
  }, 1500);
});
