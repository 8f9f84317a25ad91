// The pictures behind the numbers. Everything it shows is in the page; it loads nothing and keeps nothing.
"use strict";
(() => {
  const source = document.getElementById("pictures-data");
  const dialog = document.getElementById("explorer");
  if (!source || !dialog || !dialog.showModal) return;
  const data = JSON.parse(source.textContent);
  const find = (name) => dialog.querySelector(`[data-part="${name}"]`);
  const PAGE = 120; // tiles drawn at once
  const state = { pictures: [], total: 0, listed: [], drawn: 0, trail: [] };

  // --- what is known of a picture -----------------------------------------------------------------------------------
  const scored = [...Array(data.numScored).keys()];
  const isScored = (i) => i < data.numScored;
  const answers = (i) => {
    const row = data.probabilities[i] || [];
    const pairs = [];
    for (let k = 0; k < row.length; k += 2) pairs.push({ number: row[k], share: row[k + 1] / 10000 });
    return pairs;
  };
  const called = (i) => (data.probabilities[i] ? data.probabilities[i][0] : -1);
  const confidence = (i) => (data.probabilities[i] ? data.probabilities[i][1] / 10000 : -1);
  const ofLabel = (i) => answers(i).reduce((found, a) => (a.number === data.label[i] ? a.share : found), 0);
  const isWrong = (i) => called(i) >= 0 && called(i) !== data.label[i];
  const isRight = (i) => called(i) >= 0 && called(i) === data.label[i]; // neither, where no answer is known
  const percent = (share) => {
    const text = (100 * share).toFixed(1);
    if (share < 1 && text === "100.0") return "> 99.9\u00a0%";
    if (share > 0 && text === "0.0") return "< 0.1\u00a0%";
    return text.replace(/\.0$/, "") + "\u00a0%";
  };
  const counted = (count) => count.toLocaleString("en") + (count === 1 ? " picture" : " pictures");

  // --- what can be opened: "kind:argument:argument" -> a title and pictures -----------------------------------------
  const sets = {
    all: () => ({ title: `All ${data.part} pictures`, pictures: scored }),
    wrong: () => ({ title: "Errors", pictures: scored.filter(isWrong) }),
    away: () => ({ title: "Turned away: none of these", pictures: scored.filter((i) => data.away[i]) }),
    leaked: () => ({ title: "Copies of training pictures", pictures: data.leaked }),
    cell: (row, column) => ({
      title: `${data.classes[row]} called ${data.classes[column]}`,
      pictures: scored.filter((i) => data.label[i] === row && called(i) === column),
    }),
    class: (label) => ({ title: `Labelled ${data.classes[label]}`, pictures: scored.filter((i) => data.label[i] === label) }),
    bin: (bin) => ({
      title: `Answered with ${percent(bin / data.numBins)} to ${percent((bin + 1) / data.numBins)}`,
      pictures: scored.filter((i) => data.bin[i] === bin),
    }),
    one: (i) => ({ title: data.path[i], pictures: [i] }),
    finding: (number) => ({
      title: "Pictures of this finding",
      pictures: data.findings[number],
      total: data.findingSizes[number],
    }),
    slice: (family, part) => {
      const slice = data.slices[family];
      return {
        title: `${slice.name}: ${slice.titles[part]}`,
        pictures: scored.filter((i) => slice.members[i] === part),
      };
    },
  };
  const setOf = (name) => {
    const [kind, ...numbers] = name.split(":");
    const set = sets[kind](...numbers.map(Number));
    return { ...set, total: Math.max(set.total || 0, set.pictures.length) };
  };
  // As in "48 of 166": of a large finding the page holds the first.
  const held = (set) => (set.total > set.pictures.length ? `${set.pictures.length.toLocaleString("en")} of ` : "");

  const sorts = {
    worst: (a, b) => ofLabel(a) - ofLabel(b),
    unsure: (a, b) => confidence(a) - confidence(b),
    sure: (a, b) => confidence(b) - confidence(a),
    strange: (a, b) => (data.novelty[b] ?? -1) - (data.novelty[a] ?? -1),
    dark: (a, b) => (data.brightness[a] ?? 9) - (data.brightness[b] ?? 9),
    path: (a, b) => (data.path[a] < data.path[b] ? -1 : 1),
  };

  // --- small pieces of page; text is only ever set as text ------------------------------------------------------------
  const make = (tag, values = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(values)) {
      if (name === "class") element.className = value;
      else if (name in element) element[name] = value;
      else element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  };
  const image = (i, alt) =>
    data.thumbnails[i]
      ? make("img", { src: `data:image/jpeg;base64,${data.thumbnails[i]}`, alt, decoding: "async" })
      : make("span", { class: "blank" }, "no thumbnail");
  const summary = (i) => {
    const label = data.classes[data.label[i]];
    if (called(i) < 0) return `${label}, learned from`;
    if (isWrong(i)) return `${label}, called ${data.classes[called(i)]}, ${percent(confidence(i))}`;
    return `${label}, ${percent(confidence(i))}`;
  };

  // --- the list -----------------------------------------------------------------------------------------------------
  const list = () => {
    const show = find("show").value;
    const label = find("label").value;
    const answer = find("called").value;
    const text = find("text").value.trim().toLowerCase();
    state.listed = state.pictures
      .filter((i) => show === "all" || (show === "wrong" ? isWrong(i) : show === "right" ? isRight(i) : data.away[i]))
      .filter((i) => label === "" || data.label[i] === Number(label))
      .filter((i) => answer === "" || called(i) === Number(answer))
      .filter((i) => !text || data.path[i].toLowerCase().includes(text))
      .sort(sorts[find("sort").value]);
    find("tiles").replaceChildren();
    state.drawn = 0;
    draw();
    const isFiltered = state.listed.length < state.pictures.length;
    const some = isFiltered ? `${state.listed.length.toLocaleString("en")} of ` : held(state);
    const onPage = data.numScored < data.numEvaluated || held(state) ? " on this page" : "";
    find("count").textContent = some + counted(isFiltered ? state.pictures.length : state.total) + onPage;
  };

  const tile = (i) => {
    const button = make(
      "button",
      { type: "button", class: isWrong(i) ? "tile is-wrong" : "tile", tabIndex: -1, title: data.path[i] },
      image(i, ""),
      make("span", {}, summary(i)),
    );
    button.dataset.picture = i;
    return make("li", {}, button);
  };

  const draw = () => {
    const next = state.listed.slice(state.drawn, state.drawn + PAGE);
    find("tiles").append(...next.map(tile));
    state.drawn += next.length;
    find("more").hidden = state.drawn >= state.listed.length;
    const first = find("tiles").querySelector(".tile");
    if (first && !find("tiles").querySelector('[tabindex="0"]')) first.tabIndex = 0;
  };

  const focusTile = (button) => {
    if (!button) return;
    find("tiles").querySelectorAll('[tabindex="0"]').forEach((other) => (other.tabIndex = -1));
    button.tabIndex = 0;
    button.focus();
  };

  const moveInTiles = (event) => {
    const tiles = [...find("tiles").querySelectorAll(".tile")];
    const at = tiles.indexOf(document.activeElement);
    if (at < 0) return;
    const columns = tiles.findIndex((t) => t.offsetTop > tiles[0].offsetTop);
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, Home: -at, End: tiles.length }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    focusTile(tiles[Math.max(0, Math.min(tiles.length - 1, at + (columns < 0 && Math.abs(step) > 1 ? 0 : step)))]);
  };

  // --- one picture --------------------------------------------------------------------------------------------------
  const heat = (i) => {
    const bytes = Uint8Array.from(atob(data.maps[i]), (c) => c.charCodeAt(0));
    const [rows, columns] = data.mapSize;
    const canvas = make("canvas", { class: "heat", width: columns, height: rows });
    const pixels = new ImageData(columns, rows);
    new Int8Array(bytes.buffer).forEach((value, k) => {
      const color = value > 0 ? [0, 114, 178] : [213, 94, 0];
      pixels.data.set([...color, Math.round(((255 * Math.abs(value)) / 127) * data.strongest)], 4 * k);
    });
    canvas.getContext("2d").putImageData(pixels, 0, 0);
    canvas.setAttribute("aria-hidden", "true");
    return canvas;
  };

  const stage = (i) => {
    const picture = image(i, `Picture ${data.path[i]}`);
    const frame = make("div", { class: "stage" }, picture);
    if (data.maps[i]) frame.append(heat(i));
    picture.addEventListener("load", () => {
      frame.style.aspectRatio = `${picture.naturalWidth} / ${picture.naturalHeight}`;
      frame.style.width = `min(100%, ${Math.min(20, (20 * picture.naturalWidth) / picture.naturalHeight)}rem)`;
    });
    return frame;
  };

  const bars = (i) =>
    make(
      "ul",
      { class: "bars" },
      ...answers(i).map((a) => {
        const bar = make("i", { "aria-hidden": "true" });
        bar.style.setProperty("--p", a.share);
        const words = make("div", {}, make("span", {}, data.classes[a.number]), make("span", {}, percent(a.share)));
        return make("li", { class: a.number === data.label[i] ? "true" : "" }, words, bar);
      }),
    );

  // As Python's shlex.quote: in single quotes a POSIX shell takes every character as it is, but for the quote itself.
  const shellQuoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'"'"'`)}'`);

  const looked = (i) => {
    if (data.maps[i]) {
      const box = make("input", { type: "checkbox", checked: true });
      box.addEventListener("change", () => (find("detail").querySelector(".heat").hidden = !box.checked));
      const text = ` where it looked: blue speaks for ${data.classes[called(i)]}, orange against it`;
      return make("label", { class: "small" }, box, text);
    }
    const path = data.path[i].startsWith("-") ? `./${data.path[i]}` : data.path[i]; // which would be an option
    const command = `fieldguide explain ${data.directory} ${shellQuoted(path)}`;
    return make("p", { class: "small muted" }, "Where it looked: ", make("code", {}, command));
  };

  const nearest = (i) => {
    const items = data.nearest[i]
      .map((other, k) => ({ other, distance: data.distance[i][k] }))
      .filter((one) => one.other >= 0)
      .map(({ other, distance }) => {
        const button = make(
          "button",
          { type: "button", class: data.label[other] === data.label[i] ? "tile" : "tile is-wrong", title: data.path[other] },
          image(other, ""),
          make("span", {}, `${data.classes[data.label[other]]}, distance ${distance.toFixed(2)}`),
        );
        button.dataset.picture = other;
        return make("li", {}, button);
      });
    if (!items.length) return [];
    const note = `0 is equal, about 1 unrelated; half of the training pictures have another one within ${data.usualDistance}.`;
    return [
      make("h4", {}, "Nearest training pictures"),
      make("ul", { class: "tiles few" }, ...items),
      make("p", { class: "small muted" }, note),
    ];
  };

  const facts = (i) => {
    const rows = [["labelled", data.classes[data.label[i]]]];
    if (called(i) >= 0) rows.push(["called", data.away[i] ? `none of these (nearest: ${data.classes[called(i)]})` : data.classes[called(i)]]);
    if (data.novelty[i] !== null) rows.push(["novelty", data.reject ? `${data.novelty[i]} (above 1: none of these)` : String(data.novelty[i])]);
    if (isScored(i)) rows.push(["size", `${data.size[i][0]} x ${data.size[i][1]} px`]);
    if (isScored(i) && data.brightness[i] !== null) rows.push(["brightness", percent(data.brightness[i])]);
    if (data.leaked.includes(i)) rows.push(["copy", "a training picture is a copy of it"]);
    const cells = rows.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]);
    return make("dl", { class: "pairs" }, ...cells);
  };

  const open = (i) => {
    state.trail.push(i);
    const heading = make("h3", { tabIndex: -1 }, summary(i));
    const file = make("p", { class: "path" }, data.path[i]);
    const parts = [heading, file, stage(i)];
    if (isScored(i)) parts.push(looked(i));
    if (data.probabilities[i]) parts.push(bars(i));
    else parts.push(make("p", { class: "small muted" }, "The network learned from this picture; no held-out answer is known."));
    parts.push(facts(i));
    if (isScored(i)) parts.push(...nearest(i));
    find("detail").replaceChildren(...parts);
    find("back").hidden = false;
    for (const name of ["before", "after"]) find(name).hidden = !state.listed.includes(i);
    dialog.classList.add("has-detail");
    find("detail").scrollTop = 0;
    heading.focus();
  };

  const back = () => {
    const left = state.trail.pop();
    const previous = state.trail.pop();
    if (previous !== undefined) return open(previous);
    dialog.classList.remove("has-detail");
    find("back").hidden = find("before").hidden = find("after").hidden = true;
    find("detail").replaceChildren();
    focusTile(find("tiles").querySelector(`[data-picture="${left}"]`) || find("tiles").querySelector(".tile"));
  };

  const walk = (step) => {
    const at = state.listed.indexOf(state.trail[state.trail.length - 1]);
    const next = state.listed[at + step];
    if (at < 0 || next === undefined) return;
    while (at + step >= state.drawn) draw();
    state.trail.length = 0;
    open(next);
  };

  // --- opening and closing ------------------------------------------------------------------------------------------
  const show = (name) => {
    const set = setOf(name);
    state.pictures = set.pictures;
    state.total = set.total;
    state.trail = [];
    find("title").textContent = set.title;
    for (const part of ["show", "label", "called", "text"]) find(part).value = part === "show" ? "all" : "";
    find("sort").value = name.startsWith("finding") ? "path" : "worst";
    dialog.classList.remove("has-detail");
    find("detail").replaceChildren();
    find("back").hidden = find("before").hidden = find("after").hidden = true;
    dialog.showModal();
    list();
    if (name.startsWith("one")) open(set.pictures[0]);
    else focusTile(find("tiles").querySelector(".tile"));
  };

  dialog.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.picture !== undefined) return open(Number(button.dataset.picture));
    const actions = { close: () => dialog.close(), back, before: () => walk(-1), after: () => walk(1), more: draw };
    const action = actions[button.dataset.part];
    if (action) action();
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      event.preventDefault();
      if (state.trail.length) back();
      else dialog.close();
    } else if (find("detail").contains(document.activeElement) && state.trail.length) {
      if (event.key === "ArrowRight") walk(1);
      if (event.key === "ArrowLeft") walk(-1);
    } else moveInTiles(event);
  });
  for (const part of ["show", "label", "called", "sort"]) find(part).addEventListener("change", list);
  find("text").addEventListener("input", list);
  for (const part of ["label", "called"])
    data.classes.forEach((name, number) => find(part).append(make("option", { value: number }, name)));

  // --- what in the page opens them ----------------------------------------------------------------------------------
  const words = (set) => `, show ${held(set)}${counted(set.total)}`;
  document.querySelectorAll("[data-open]").forEach((place) => {
    const name = place.dataset.open;
    const set = setOf(name);
    if (!set.pictures.length) return;
    if (place instanceof SVGElement) {
      place.ownerSVGElement.setAttribute("role", "group"); // what is inside an "img" is not told
      place.setAttribute("tabindex", "0");
      place.setAttribute("role", "button");
      place.setAttribute("aria-label", set.title + words(set));
      place.classList.add("opens");
      place.addEventListener("click", () => show(name));
      place.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        show(name);
      });
      return;
    }
    const button = make("button", { type: "button", class: place.hidden ? "" : "opens" });
    button.setAttribute("aria-haspopup", "dialog");
    if (place.hidden) {
      button.textContent = `${place.dataset.text || "Show"} (${held(set)}${set.total.toLocaleString("en")})`;
      place.hidden = false;
      place.append(button);
    } else {
      // A link to the list of paths, for readers without a script, gives way to the button.
      button.append(...[...place.childNodes].flatMap((node) => (node.tagName === "A" ? [...node.childNodes] : [node])));
      button.append(make("span", { class: "hidden" }, words(set)));
      place.replaceChildren(button);
    }
    button.addEventListener("click", () => show(name));
  });
})();
