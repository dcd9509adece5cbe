// Runs before the first paint, so that a dark page never flashes white.
let chosen = null;
try {
  chosen = localStorage.getItem("theme");
} catch {
  // Storage is switched off: the system's preference it is.
}
const dark = chosen === "light" || chosen === "dark" ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
document.documentElement.dataset.bsTheme = dark ? "dark" : "light";
// What is hidden until a script opens it stays open where no script runs.
document.documentElement.classList.add("scripted");
