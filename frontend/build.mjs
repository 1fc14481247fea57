// Builds src/ into the Python package's web/assets: content-hashed names (so they may be cached for
// ever) and manifest.json, which the server reads.
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { basename, extname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const folder = new URL("../src/tallyboard/web/assets/", import.meta.url).pathname;
const fonts = "node_modules/@fontsource-variable/inter/files";

mkdirSync(folder, { recursive: true });
for (const old of readdirSync(folder)) rmSync(join(folder, old), { recursive: true });

const { metafile } = await build({
  absWorkingDir: new URL(".", import.meta.url).pathname,
  entryPoints: { app: "src/app.ts", style: "src/style.css" },
  outdir: folder,
  entryNames: "[name]-[hash]",
  assetNames: "[name]-[hash]",
  bundle: true,
  minify: true,
  format: "iife",
  target: ["es2022", "chrome123", "safari17.5", "firefox128"],
  loader: { ".woff2": "file" },
  legalComments: "none",
  metafile: true,
});

const manifest = {};
for (const [output, { entryPoint, inputs }] of Object.entries(metafile.outputs)) {
  const source = entryPoint ?? Object.keys(inputs)[0];
  const name = {
    "src/app.ts": "app.js",
    "src/style.css": "app.css",
    [`${fonts}/inter-latin-wght-normal.woff2`]: "inter.woff2",
  }[source];
  if (name === undefined) throw new Error(`no asset name for ${source}: add one to build.mjs`);
  manifest[name] = basename(output);
}

const icon = readFileSync(new URL("src/favicon.svg", import.meta.url));
manifest["favicon.svg"] = `favicon-${createHash("sha256").update(icon).digest("hex").slice(0, 8)}.svg`;
writeFileSync(join(folder, manifest["favicon.svg"]), icon);

for (const file of Object.values(manifest)) {
  if (extname(file) === ".woff2") continue;
  const text = readFileSync(join(folder, file));
  console.log(`${file}  ${text.length} bytes, ${gzipSync(text).length} gzip`);
}
// Both licences ask to travel with what they cover.
const licences = ["htmx.org", "@fontsource-variable/inter"].map(
  (name) => `${name}\n\n${readFileSync(new URL(`node_modules/${name}/LICENSE`, import.meta.url), "utf8")}`,
);
writeFileSync(join(folder, "licences.txt"), licences.join(`\n${"-".repeat(80)}\n\n`));
writeFileSync(join(folder, "manifest.json"), `${JSON.stringify(manifest, null, 2)}\n`);
