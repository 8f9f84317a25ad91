// The page: pictures in, answers shown. What answers is behind `open()` of predictor.js.

import { hasCamera, openCamera } from "./camera.js";
import { open } from "./predictor.js";
import { csv } from "./table.js";

const $ = (id) => document.getElementById(id);
const MOST_KEPT = 500; // answers; older ones are forgotten
const MOST_BARS = 8;
const OF_THE_PICTURE = [413, 415, 422]; // statuses that say that it is the picture's fault, not the server's
const percent = (share) => `${(100 * share).toFixed(1)} %`;

let predictor = null;
let entries = []; // {name, blob, url, prediction, title}, the newest first
let shown = null;
let queue = [];
let isBusy = false;

function say(text) {
  $("status").textContent = text;
}

function complain(text) {
  $("problem").textContent = text;
  $("problem").hidden = !text;
}

async function give(files) {
  const pictures = [...files];
  if (!predictor || !pictures.length) return;
  complain("");
  queue.push(...pictures);
  if (isBusy) return;
  isBusy = true;
  let done = 0;
  while (queue.length) {
    const total = done + queue.length;
    say(total > 1 ? `Looking at picture ${done + 1} of ${total}…` : "Looking…");
    await look(queue.shift(), queue.length === 0);
    done += 1;
  }
  say("");
  isBusy = false;
}

async function look(blob, isLast) {
  const name = blob.name || "picture";
  let prediction, title;
  try {
    prediction = await predictor.predict(blob);
  } catch (error) {
    prediction = { class_name: null, nearest_class: null, probability: null, probabilities: {}, novelty: null,
      none_of_these: false, error: error.message };
    if (error.status !== undefined && !OF_THE_PICTURE.includes(error.status)) title = "No answer";
  }
  title ??= prediction.error ? "Cannot be read" : prediction.none_of_these ? "None of these" : prediction.class_name;
  const entry = { name, blob, url: URL.createObjectURL(blob), prediction, title };
  entries.unshift(entry);
  for (const old of entries.splice(MOST_KEPT)) URL.revokeObjectURL(old.url);
  list();
  if (isLast) show(entry);
}

function show(entry) {
  shown = entry;
  const { prediction } = entry;
  $("answer").hidden = false;
  $("picture").src = entry.url;
  $("picture").alt = `The picture ${entry.name}`;
  $("name").textContent = entry.name;
  $("verdict").textContent = entry.title;
  $("verdict").classList.toggle("strange", Boolean(prediction.none_of_these || prediction.error));
  $("detail").textContent = detail(prediction);
  bars(prediction);
  heat(prediction);
  $("correction").hidden = !predictor.correct || Boolean(prediction.error);
  $("kept").textContent = "";
  for (const button of $("list").querySelectorAll("button")) {
    button.setAttribute("aria-current", String(button.dataset.url === entry.url));
  }
}

function detail(prediction) {
  if (prediction.error) return prediction.error.split("\n")[0];
  const probability = `probability ${percent(prediction.probability)}`;
  if (!prediction.none_of_these) return probability;
  return `It lies further from every class than pictures of these classes do. The nearest is ${prediction.nearest_class}.`;
}

function bars(prediction) {
  const ranked = Object.entries(prediction.probabilities).sort((a, b) => b[1] - a[1]);
  const rows = ranked.slice(0, MOST_BARS).map(([name, share]) => {
    const row = document.createElement("li");
    const line = document.createElement("div");
    const bar = document.createElement("i");
    for (const text of [name, percent(share)]) line.append(Object.assign(document.createElement("span"), { textContent: text }));
    bar.style.setProperty("--share", share);
    bar.setAttribute("aria-hidden", "true");
    row.append(line, bar);
    return row;
  });
  if (ranked.length > MOST_BARS) {
    const rest = ranked.slice(MOST_BARS).reduce((sum, [, share]) => sum + share, 0);
    const text = `${ranked.length - MOST_BARS} other classes: ${percent(rest)}`;
    rows.push(Object.assign(document.createElement("li"), { className: "rest", textContent: text }));
  }
  $("bars").replaceChildren(...rows);
}

/** Draws where the evidence lies: blue for the nearest class, orange against it, as reports do. */
function heat(prediction) {
  const map = prediction.heatmap;
  $("heat-choice").hidden = !map;
  $("heat").hidden = $("place").hidden = !map || !$("show-heat").checked;
  if (!map) return;
  $("place").textContent = map.place ? `${map.place}, ${percent(map.share)} of what speaks for ${map.class_name}` : "";
  const [rows, columns] = [map.evidence.length, map.evidence[0].length];
  const strongest = Math.max(...map.evidence.flat().map(Math.abs), 1e-9);
  const small = Object.assign(document.createElement("canvas"), { width: columns, height: rows });
  const pixels = new ImageData(columns, rows);
  map.evidence.flat().forEach((value, i) => {
    pixels.data.set([...(value > 0 ? [0, 114, 178] : [213, 94, 0]), (191 * Math.abs(value)) / strongest], 4 * i);
  });
  small.getContext("2d").putImageData(pixels, 0, 0);
  Object.assign($("heat"), { width: 32 * columns, height: 32 * rows });
  const context = $("heat").getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(small, 0, 0, 32 * columns, 32 * rows);
}

function list() {
  $("history").hidden = !entries.length;
  const items = entries.map((entry) => {
    const button = Object.assign(document.createElement("button"), { type: "button", onclick: () => reveal(entry) });
    button.dataset.url = entry.url;
    button.setAttribute("aria-current", String(entry === shown));
    const image = Object.assign(document.createElement("img"), { src: entry.url, alt: "", loading: "lazy" });
    image.onerror = () => image.replaceWith(Object.assign(document.createElement("div"), { className: "blank" }));
    const sure = entry.prediction.class_name ? percent(entry.prediction.probability) : "";
    button.append(image, Object.assign(document.createElement("b"), { textContent: entry.title }), `${sure} `,
      Object.assign(document.createElement("span"), { className: "muted", textContent: entry.name }));
    const item = document.createElement("li");
    item.append(button);
    return item;
  });
  $("list").replaceChildren(...items);
}

function reveal(entry) {
  show(entry);
  $("answer").focus({ preventScroll: true });
  $("answer").scrollIntoView({ block: "nearest" });
}

function download() {
  // The mark at the beginning tells spreadsheets that it is UTF-8.
  const blob = new Blob(["\ufeff", csv([...entries].reverse(), predictor.classNames)], { type: "text/csv" });
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: "predictions.csv" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function clear() {
  for (const entry of entries) URL.revokeObjectURL(entry.url);
  [entries, shown] = [[], null];
  list();
  $("answer").hidden = true;
  complain("");
  say("Cleared.");
}

async function correct(event) {
  event.preventDefault();
  const entry = shown;
  try {
    await predictor.correct(entry.blob, $("right-class").value);
    if (entry === shown) $("kept").textContent = "Kept, thank you.";
  } catch (error) {
    complain(error.message);
  }
}

async function camera() {
  if (!hasCamera()) {
    complain("This browser offers the camera only to pages that came over https, or from this computer.");
    return;
  }
  try {
    await openCamera((blob) => give([new File([blob], `camera-${new Date().toISOString().slice(0, 19).replaceAll(":", "-")}.jpg`, { type: blob.type })]));
  } catch (error) {
    complain(error.name === "NotAllowedError" ? "The browser was not allowed to use the camera." : "No camera was found.");
  }
}

function askForToken(isRefused) {
  const dialog = $("token-dialog");
  return new Promise((resolve) => {
    dialog.oncancel = (event) => event.preventDefault();
    dialog.onclose = () => resolve($("token").value.trim());
    $("token-problem").hidden = true;
    $("token").value = "";
    dialog.showModal();
    if (isRefused) {
      $("token-problem").hidden = false; // only now: readers of screens tell what changes in what is shown
      $("token-problem").textContent = "That token was refused.";
    }
  });
}

function listen() {
  $("files").onchange = () => {
    give($("files").files);
    $("files").value = "";
  };
  $("camera").onclick = camera;
  $("show-heat").onchange = () => shown && heat(shown.prediction);
  $("download").onclick = download;
  $("clear").onclick = clear;
  $("correction").onsubmit = correct;
  let depth = 0;
  const over = (change) => {
    depth = Math.max(0, depth + change);
    $("drop").classList.toggle("over", depth > 0);
  };
  addEventListener("dragenter", () => over(1));
  addEventListener("dragleave", () => over(-1));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    over(-depth);
    give(event.dataTransfer.files);
  });
  addEventListener("paste", (event) => give(event.clipboardData.files));
}

async function begin() {
  listen();
  try {
    predictor = await open(askForToken);
  } catch (error) {
    $("about").textContent = "";
    complain(error.message);
    return;
  }
  const names = predictor.classNames;
  const few = names.slice(0, 12).join(", ");
  $("about").textContent = `It knows ${names.length} classes: ${few}${names.length > 12 ? ", …" : ""}. ${predictor.knowsStrangers ? "It says so where a picture is none of these." : ""}`;
  $("privacy").textContent = predictor.privacy;
  $("model").textContent = `Model ${predictor.model}.`;
  $("right-class").replaceChildren(...names.map((name) => new Option(name, name)));
  $("files").disabled = $("camera").disabled = false;
  document.documentElement.dataset.ready = "true";
}

begin();
