// A form that was sent is not sent twice, and its button shows that something goes on; one that came back with errors
// has the focus at the first of them.
const AGAIN_AFTER = 15_000; // ms: an answer that never comes, or a download, leaves the page as it is

function wake(form) {
  delete form.dataset.sent;
  for (const button of form.querySelectorAll("[aria-busy]")) button.removeAttribute("aria-busy");
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post" || event.defaultPrevented) return; // htmx sends its own
  if ("sent" in form.dataset) return event.preventDefault();
  form.dataset.sent = "";
  event.submitter?.setAttribute("aria-busy", "true");
  setTimeout(() => wake(form), AGAIN_AFTER);
});

// A sentence about the whole form stands above its fields.
function showFirstError() {
  const first = document.querySelector("main form[method=post] :is([aria-invalid=true], .note-bad[role=alert])");
  if (first?.matches(".note-bad")) first.tabIndex = -1;
  first?.focus();
}

addEventListener("pageshow", (event) => {
  for (const form of document.querySelectorAll("form[data-sent]")) wake(form);
  if (!event.persisted) showFirstError();
});
