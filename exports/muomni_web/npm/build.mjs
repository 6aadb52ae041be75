/** Bundles the scripts of the site into ../static: the same bytes from the same sources and the same esbuild. */
import { build } from "esbuild";

const shared = {
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  charset: "utf8",
  legalComments: "none",
  logLevel: "warning",
  outdir: process.argv[2] ?? "../static",
};

/** The worker takes the library from beside it instead of holding it a second time. */
const library = {
  name: "library",
  setup({ onResolve }) {
    onResolve({ filter: /^\.\.\/index\.js$/ }, () => ({ path: "./muomni-web.js", external: true }));
  },
};

await build({ ...shared, entryPoints: { "muomni-web": "src/index.ts" } });
await build({ ...shared, entryPoints: { page: "src/site/page.ts" } });
await build({ ...shared, entryPoints: { worker: "src/site/worker.ts" }, plugins: [library] });
await build({ ...shared, entryPoints: { sw: "src/site/service_worker.ts" }, format: "iife" });
