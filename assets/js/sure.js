// A link [data-sure] leads to a page that asks before it acts. Here a dialog asks the same, and gives the focus back to
// the link; where the page cannot be had, the browser goes there and says why.
import { on } from "./on.js";

let asking = null; // the link

async function ask(link) {
  const answer = await fetch(link.href);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const asked = page.querySelector("[data-asks]");
  if (!answer.ok || !asked) throw new Error(`${link.href} asks nothing`);
  const dialog = document.createElement("dialog");
  dialog.className = "sheet-dialog sure";
  dialog.setAttribute("aria-labelledby", "asks");
  dialog.append(document.adoptNode(asked));
  dialog.addEventListener("close", () => {
    dialog.remove();
    // A poll may have put another link in this one's place.
    (link.isConnected ? link : document.getElementById(link.id))?.focus();
    asking = null;
  });
  document.body.append(dialog);
  dialog.showModal();
  dialog.querySelector("[data-cancel]").focus();
}

on("click", "a[data-sure]", (link, event) => {
  if (event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  if (asking) return;
  asking = link;
  ask(link).catch(() => location.assign(link.href));
});
on("click", "dialog.sure", (dialog, event) => event.target === dialog && dialog.close());
on("click", "dialog.sure [data-cancel]", (link, event) => {
  event.preventDefault();
  link.closest("dialog").close();
});
