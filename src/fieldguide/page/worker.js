// The classifier at work, beside the page: decodes, resizes as Pillow does, and runs the network.

import * as ort from "./ort.wasm.bundle.min.mjs";
import { resize } from "./resize.js";

const MOST_PIXELS = 40e6;
const here = (name) => new URL(name, import.meta.url).href;

let about = null;
let session = null;

async function open() {
  ort.env.wasm.wasmPaths = { wasm: here("ort-wasm-simd-threaded.wasm") };
  ort.env.wasm.numThreads = 1; // more need headers that a static host does not send
  ort.env.wasm.proxy = false;
  const [json, model] = await Promise.all([fetch(here("about.json")), fetch(here("model.onnx"))]);
  if (!json.ok || !model.ok) throw new Error("A file of the classifier is missing beside this page.");
  about = await json.json();
  session = await ort.InferenceSession.create(new Uint8Array(await model.arrayBuffer()), { executionProviders: ["wasm"] });
  return about;
}

/** The picture as RGBA, turned as its metadata say, transparency over white, colour profiles ignored. */
async function decode(blob) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none", imageOrientation: "from-image" });
  } catch {
    throw new Error("This browser cannot read it as a picture.");
  }
  const { width, height } = bitmap;
  try {
    if (width * height > MOST_PIXELS) throw new Error(`${width} x ${height} px is more than 40 million pixels.`);
    const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
    context.fillStyle = "#fff";
    context.fillRect(0, 0, width, height);
    context.drawImage(bitmap, 0, 0);
    return context.getImageData(0, 0, width, height);
  } finally {
    bitmap.close();
  }
}

async function predict(blob) {
  const { data, width, height } = await decode(blob);
  const [rows, columns] = about.image_size;
  const pixels = resize(data, width, height, columns, rows);
  const found = await session.run({ pixels: new ort.Tensor("uint8", pixels, [1, rows, columns, 3]) });
  const shares = [...found.probabilities.data];
  const nearest = shares.indexOf(Math.max(...shares));
  const isStrange = Boolean(found.none_of_these?.data[0]);
  return {
    class_name: isStrange ? null : about.class_names[nearest],
    nearest_class: about.class_names[nearest],
    probability: shares[nearest],
    probabilities: Object.fromEntries(about.class_names.map((name, i) => [name, shares[i]])),
    novelty: found.novelty ? found.novelty.data[0] : null,
    none_of_these: isStrange,
    error: null,
    heatmap: found.evidence ? heatmap(found.evidence, nearest) : null,
  };
}

/** What each place adds to the logit of a class: (1, rows, columns, classes) -> rows of numbers. */
function heatmap({ data, dims: [, rows, columns, classes] }, chosen) {
  const row = (y) => Array.from({ length: columns }, (_, x) => data[(y * columns + x) * classes + chosen]);
  return { class_name: about.class_names[chosen], evidence: Array.from({ length: rows }, (_, y) => row(y)), place: null, share: null };
}

// One after the other: the network cannot run twice at once.
let last = Promise.resolve();
onmessage = ({ data: { id, what, blob } }) => {
  last = last.then(() => (what === "open" ? open() : predict(blob))).then(
    (value) => postMessage({ id, value }),
    (error) => postMessage({ id, error: error.message }),
  );
};
