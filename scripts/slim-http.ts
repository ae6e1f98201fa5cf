/**
 * Keeps undici out of the processes. Whoever imports `node:http` as a module makes Node copy all that it exports, and three
 * of its exports (WebSocket and its events) load undici the moment that they are looked at: 5 to 6 MB of resident memory and
 * some 20 ms of each start, for what Herald never uses. Taken as an object, they stay unlooked at.
 */
import http from "node:http";
import type { Plugin } from "esbuild";

/** Exports of node:http that are getters which load undici. */
const LOADERS: readonly string[] = ["WebSocket", "CloseEvent", "MessageEvent"];

/** The esbuild plugin. `require("http")` of CommonJS packages needs nothing: it looks at nothing. */
export const slimHttp: Plugin = {
  name: "slim-http",
  setup(build) {
    build.onResolve({ filter: /^(node:)?http$/ }, ({ kind }) => (kind === "import-statement" ? { path: "http", namespace: "slim-http", sideEffects: false } : undefined));
    build.onLoad({ filter: /.*/, namespace: "slim-http" }, () => {
      const names = Object.keys(http).filter((name) => !LOADERS.includes(name));
      return { contents: `const http = process.getBuiltinModule("node:http");\nexport default http;\n${names.map((name) => `export const ${name} = http.${name};`).join("\n")}\n`, loader: "js" };
    });
  },
};
