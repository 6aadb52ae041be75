/** Keeps the files of the site, so that it works without a network. What `files.json` lists is fetched once a version;
 * an older version is dropped when all of the new one is there. */

declare const self: ServiceWorkerGlobalScope;

interface FileList {
  version: string;
  files: Record<string, number>;
}

const PREFIX = "muomni-";
const ROOT = new URL("./", self.location.href);

async function listed(): Promise<FileList> {
  const response = await fetch(new URL("files.json", ROOT), { cache: "no-store" });
  if (!response.ok) throw new Error(`files.json: ${response.status}`);
  return (await response.json()) as FileList;
}

/** Fetch what is not there yet, then forget other versions. */
async function keep(): Promise<void> {
  const { version, files } = await listed();
  const cache = await caches.open(PREFIX + version);
  for (const name of ["./", ...Object.keys(files)]) {
    const address = new URL(name, ROOT);
    if (await cache.match(address)) continue;
    const response = await fetch(address, { cache: "no-cache" });
    if (!response.ok) throw new Error(`${name}: ${response.status}`);
    await cache.put(address, response);
  }
  for (const name of await caches.keys()) {
    if (name.startsWith(PREFIX) && name !== PREFIX + version) await caches.delete(name);
  }
}

/** The file as it was kept, in any version; else from the network. A newer version is looked for by the page. */
async function answer(request: Request): Promise<Response> {
  const address = new URL(request.url);
  address.search = "";
  return (await caches.match(address)) ?? fetch(request);
}

self.addEventListener("install", () => void self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => {
  const own = event.request.method === "GET" && event.request.url.startsWith(ROOT.href);
  if (own) event.respondWith(answer(event.request));
});
self.addEventListener("message", (event) => {
  if (event.data !== "keep") return;
  const told = keep().then(
    () => "kept",
    () => "failed",
  );
  event.waitUntil(told.then((outcome) => event.source?.postMessage(outcome)));
});
