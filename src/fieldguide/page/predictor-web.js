// Computes in the browser, in a worker. The other predictor is predictor-http.js; page.js knows no difference.

/** Opens the classifier that lies beside this file. */
export async function open() {
  const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  const waiting = new Map();
  let number = 0;
  worker.onmessage = ({ data: { id, value, error } }) => {
    const { resolve, reject } = waiting.get(id);
    waiting.delete(id);
    if (error) reject(new Error(error));
    else resolve(value);
  };
  worker.onerror = (event) => {
    for (const { reject } of waiting.values()) reject(new Error(event.message || "The classifier could not be loaded."));
    waiting.clear();
  };
  const ask = (what, blob) =>
    new Promise((resolve, reject) => {
      waiting.set(++number, { resolve, reject });
      worker.postMessage({ id: number, what, blob });
    });
  const about = await ask("open");
  navigator.serviceWorker?.register(new URL("offline.js", import.meta.url)).catch(() => {}); // it works without, while online
  return {
    classNames: about.class_names,
    model: about.model_hash,
    knowsStrangers: about.novelty !== null && about.novelty.reject > 0,
    privacy: "Everything is computed in this page: no picture leaves this device.",
    predict: (blob) => ask("predict", blob),
    correct: null,
  };
}
