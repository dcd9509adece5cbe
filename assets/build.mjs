// Bundles the portal's scripts and styles into static/, which is served as it is.
import { build } from "esbuild";
import { readdirSync } from "node:fs";
import { cp, readFile, rm, writeFile } from "node:fs/promises";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

const out = "static";
await rm(out, { recursive: true, force: true });
await build({
  entryPoints: {
    app: "assets/js/app.js",
    theme: "assets/js/theme.js",
    charts: "assets/js/charts.js",
    compare: "assets/js/compare.js",
    lineage: "assets/js/lineage.js",
    traffic: "assets/js/traffic.js",
  },
  outdir: out,
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2022",
  legalComments: "none",
});
await build({
  entryPoints: { app: "assets/css/app.css", admin: "assets/css/admin.css" },
  outdir: out,
  bundle: true,
  minify: true,
  loader: { ".woff2": "file" },
  assetNames: "fonts/[name]",
  legalComments: "none",
});
await cp("assets/icons.svg", `${out}/icons.svg`);
await cp("assets/favicon.svg", `${out}/favicon.svg`);

// WhiteNoise serves these to browsers that take them.
const quality = { params: { [constants.BROTLI_PARAM_QUALITY]: 9 } };
for (const name of readdirSync(out).filter((each) => /\.(js|css|svg)$/.test(each))) {
  const bytes = await readFile(`${out}/${name}`);
  await writeFile(`${out}/${name}.br`, brotliCompressSync(bytes, quality));
  await writeFile(`${out}/${name}.gz`, gzipSync(bytes, { level: 9 }));
}
