// One listener on the document for all elements that match, those that come later included.
export const on = (kind, selector, act) =>
  document.addEventListener(kind, (event) => {
    const found = event.target.closest?.(selector);
    if (found) act(found, event);
  });
