// Bundles the portal's scripts and styles into static/, which is served as it is.
import { build } from "esbuild";
import { cp, rm } from "node:fs/promises";

const out = "static";
await rm(out, { recursive: true, force: true });
await build({
  entryPoints: {
    app: "assets/js/app.js",
    theme: "assets/js/theme.js",
    charts: "assets/js/charts.js",
  },
  outdir: out,
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2022",
  legalComments: "none",
});
await build({
  entryPoints: { app: "assets/css/app.css" },
  outdir: out,
  bundle: true,
  minify: true,
  loader: { ".woff2": "file" },
  assetNames: "fonts/[name]",
  legalComments: "none",
});
await cp("assets/icons.svg", `${out}/icons.svg`);
await cp("assets/favicon.svg", `${out}/favicon.svg`);
