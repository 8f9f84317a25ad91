// Keeps the page's own files, so that it opens without a network. MODEL and FILES stand in the line above.

const NAME = `fieldguide-${MODEL}`;

addEventListener("install", (event) => {
  event.waitUntil(caches.open(NAME).then((cache) => cache.addAll(FILES)).then(() => skipWaiting()));
});
addEventListener("activate", (event) => {
  const forget = async () => {
    for (const name of await caches.keys()) if (name.startsWith("fieldguide-") && name !== NAME) await caches.delete(name);
    await clients.claim();
  };
  event.waitUntil(forget());
});
addEventListener("fetch", (event) => {
  if (event.request.method !== "GET") return;
  // The newest first; what was kept where there is no network.
  event.respondWith(fetch(event.request).catch(() => caches.match(event.request, { ignoreSearch: true })));
});
