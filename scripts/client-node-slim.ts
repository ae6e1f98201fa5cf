/**
 * Keeps the bundles small: of `@kubernetes/client-node` only KubeConfig is used, but its file pulls in the generated models
 * of every Kubernetes kind, undici, and the login flows of desktop users. This plugin leaves those out.
 * Measurements: docs/adr/0005-own-thin-api-client.md.
 */
import type { Plugin } from "esbuild";

/** Files of client-node, by the end of the import as config.js writes it, and what stands in for them. */
const replaced: readonly { readonly filter: RegExp; readonly contents: string }[] = [
  // KubeConfig.makeApiClient's models: Herald makes no such client.
  { filter: /^\.\/gen\/index\.js$/, contents: unavailable(["createConfiguration", "ServerConfiguration"], "client-node's own API clients are") },
  { filter: /^\.\/middleware\.js$/, contents: unavailable(["setHeaderMiddleware"], "client-node's own API clients are") },
  // Dispatchers for those same clients.
  { filter: /^undici$/, contents: unavailable(["Agent", "ProxyAgent"], "client-node's own API clients are") },
  // Refreshing an OpenID token needs a browser's session; a token that is still valid could be used, but not renewed.
  { filter: /^openid-client$/, contents: unavailable(["Configuration", "discovery", "refreshTokenGrant"], "OpenID Connect logins are") },
  // The azure and gcp authenticators, removed from kubectl itself in 1.26 in favour of exec plugins (which work).
  { filter: /^jsonpath-plus$/, contents: unavailable(["JSONPath"], "the azure and gcp logins are") },
  // SOCKS proxies (and with them a parser of addresses and a logger); HTTP proxies work.
  { filter: /^socks(-proxy-agent)?$/, contents: unavailable(["SocksProxyAgent", "SocksClient"], "SOCKS proxies are") },
];

function unavailable(names: readonly string[], what: string): string {
  const body = `throw new Error(${JSON.stringify(`${what} left out of Herald's bundle`)});`;
  return names.map((name) => `export function ${name}() { ${body} }`).join("\n");
}

/** The esbuild plugin; it touches imports made by client-node's files only. */
export const clientNodeSlim: Plugin = {
  name: "client-node-slim",
  setup(build) {
    for (const [index, { filter, contents }] of replaced.entries()) {
      const namespace = `client-node-slim-${index}`;
      build.onResolve({ filter }, ({ importer }) => (importer.includes("/@kubernetes/client-node/dist/") ? { path: namespace, namespace, sideEffects: false } : undefined));
      build.onLoad({ filter: /.*/, namespace }, () => ({ contents, loader: "js" }));
    }
  },
};
