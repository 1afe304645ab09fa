"use strict";
(() => {
  const facts = JSON.parse(document.getElementById("facts").textContent);
  const by = (id) => document.getElementById(id);
  const all = (query, from = document) => [...from.querySelectorAll(query)];
  const SVG = "http://www.w3.org/2000/svg";

  // Light or dark: the reader's system decides until the button is used.
  const root = document.documentElement;
  const remembered = () => { try { return localStorage.getItem("accelc-theme"); } catch { return null; } };
  const asked = new URLSearchParams(location.hash.slice(1)).get("theme") || remembered();
  if (asked === "light" || asked === "dark") root.dataset.theme = asked;
  by("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    try { localStorage.setItem("accelc-theme", root.dataset.theme); } catch { /* pages of files may keep nothing */ }
  });

  // Tables sort by the column that is clicked.
  for (const head of all("th.sort")) {
    head.addEventListener("click", () => {
      const column = head.cellIndex, body = head.closest("table").tBodies[0];
      const down = head.getAttribute("aria-sort") !== "descending";
      for (const other of all("th", head.parentNode)) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => { const cell = row.cells[column]; return cell.dataset.v !== undefined ? Number(cell.dataset.v) : cell.textContent; };
      const order = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
      body.append(...[...body.rows].sort((a, b) => (down ? -1 : 1) * order(key(a), key(b))));
    });
  }

  const graph = by("graph"), scene = by("scene"), stage = by("stage");
  if (!graph) return;
  const width = Number(graph.dataset.w), height = Number(graph.dataset.h);
  const nodes = all(".node", graph), edges = all(".edge", graph);
  const boxes = new Map(nodes.filter((n) => n.dataset.k).map((n) => [Number(n.dataset.k), n]));
  graph.removeAttribute("viewBox");

  // Pan and zoom.
  const view = { x: 0, y: 0, k: 1 };
  const size = () => ({ w: stage.clientWidth, h: stage.clientHeight });
  const least = () => { const { w, h } = size(); return Math.min(w / width, h / height, 1); };
  function show() {
    const { w, h } = size();
    view.k = Math.min(Math.max(view.k, Math.max(least() * 0.8, 0.004)), 4);
    const slack = 80;
    const hold = (at, extent, room) => (extent * view.k + 2 * slack <= room ? Math.min(Math.max(at, 0), room - extent * view.k) : Math.min(Math.max(at, room - extent * view.k - slack), slack));
    view.x = hold(view.x, width, w);
    view.y = hold(view.y, height, h);
    scene.setAttribute("transform", `translate(${view.x} ${view.y}) scale(${view.k})`);
    stage.classList.toggle("far", view.k < 0.42);
    lens.setAttribute("x", Math.max(0, -view.x / view.k));
    lens.setAttribute("y", Math.max(0, -view.y / view.k));
    lens.setAttribute("width", Math.min(width, w / view.k));
    lens.setAttribute("height", Math.min(height, h / view.k));
  }
  function zoom(factor, px, py) {
    const { w, h } = size(), before = view.k;
    const x = px ?? w / 2, y = py ?? h / 2;
    view.k = Math.min(Math.max(view.k * factor, Math.max(least() * 0.8, 0.004)), 4);
    view.x = x - (x - view.x) * (view.k / before);
    view.y = y - (y - view.y) * (view.k / before);
    show();
  }
  function fit() {
    const { w, h } = size();
    view.k = Math.min(w / width, h / height, 1.25);
    view.x = (w - width * view.k) / 2;
    view.y = (h - height * view.k) / 2;
    show();
  }
  function start() {
    const { w, h } = size();
    if (Math.min(w / width, h / height) >= 0.6) return fit();
    view.k = Math.max(Math.min(1, w / width), 0.55);
    const first = nodes.length ? middle(nodes[0]) : { x: width / 2, y: 0 };
    view.x = w / 2 - first.x * view.k;
    view.y = 10;
    show();
  }
  function middle(node) {
    const at = node.transform.baseVal.getItem(0).matrix, box = node.querySelector(".box");
    return { x: at.e + 24 + box.width.baseVal.value / 2, y: at.f + 24 + box.height.baseVal.value / 2 };
  }

  // The strip beside the graph: all of it at once.
  const mini = document.createElementNS(SVG, "svg");
  mini.setAttribute("viewBox", `0 0 ${width} ${height}`);
  mini.setAttribute("preserveAspectRatio", "none");
  for (const node of nodes) {
    const at = node.transform.baseVal.getItem(0).matrix, box = node.querySelector(".box");
    const bit = document.createElementNS(SVG, "rect");
    bit.setAttribute("class", `bit ${node.getAttribute("class").replace("node", "")}`);
    for (const [name, value] of [["x", at.e + 24], ["y", at.f + 24], ["width", box.width.baseVal.value], ["height", box.height.baseVal.value]]) bit.setAttribute(name, value);
    mini.append(bit);
  }
  const lens = document.createElementNS(SVG, "rect");
  lens.setAttribute("class", "window");
  mini.append(lens);
  by("mini").append(mini);
  const jump = (event) => {
    if (event.type === "pointermove" && !event.buttons) return;
    const box = mini.getBoundingClientRect(), { w, h } = size();
    view.x = w / 2 - ((event.clientX - box.left) / box.width) * width * view.k;
    view.y = h / 2 - ((event.clientY - box.top) / box.height) * height * view.k;
    show();
  };
  by("mini").addEventListener("pointerdown", jump);
  by("mini").addEventListener("pointermove", jump);

  let drag = null;
  const fingers = new Map();
  stage.addEventListener("pointerdown", (event) => {
    fingers.set(event.pointerId, event);
    drag = { x: event.clientX, y: event.clientY, moved: false };
  });
  stage.addEventListener("pointermove", (event) => {
    if (!fingers.has(event.pointerId)) return;
    if (fingers.size === 2) {
      const [a, b] = [...fingers.values()], other = a.pointerId === event.pointerId ? b : a, old = fingers.get(event.pointerId);
      const apart = (p, q) => Math.hypot(p.clientX - q.clientX, p.clientY - q.clientY) || 1;
      const box = stage.getBoundingClientRect();
      zoom(apart(event, other) / apart(old, other), (event.clientX + other.clientX) / 2 - box.left, (event.clientY + other.clientY) / 2 - box.top);
      drag.moved = true;
    } else {
      const dx = event.clientX - drag.x, dy = event.clientY - drag.y;
      if (!drag.moved && Math.hypot(dx, dy) < 4) return;
      if (!drag.moved) stage.setPointerCapture(event.pointerId);
      drag = { x: event.clientX, y: event.clientY, moved: true };
      stage.classList.add("moving");
      view.x += dx;
      view.y += dy;
      show();
    }
    fingers.set(event.pointerId, event);
  });
  const lift = (event) => { fingers.delete(event.pointerId); stage.classList.remove("moving"); };
  stage.addEventListener("pointerup", lift);
  stage.addEventListener("pointercancel", lift);
  stage.addEventListener("click", (event) => {
    if (drag && drag.moved) return;
    const node = event.target.closest(".node");
    if (node && node.dataset.k) choose(Number(node.dataset.k), false);
  });
  stage.addEventListener("dblclick", (event) => { const box = stage.getBoundingClientRect(); zoom(1.6, event.clientX - box.left, event.clientY - box.top); });
  stage.addEventListener("wheel", (event) => {
    const box = stage.getBoundingClientRect();
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      zoom(Math.exp(-event.deltaY * 0.0035), event.clientX - box.left, event.clientY - box.top);
      return;
    }
    const before = view.x + view.y;
    view.x -= event.shiftKey ? event.deltaY : event.deltaX;
    view.y -= event.shiftKey ? 0 : event.deltaY;
    show();
    if (view.x + view.y !== before) event.preventDefault(); // at its end the page scrolls on
  }, { passive: false });
  for (const [id, act] of [["in", () => zoom(1.4)], ["out", () => zoom(1 / 1.4)], ["fit", fit]]) by(id).addEventListener("click", act);
  const heat = by("heat");
  if (heat) heat.addEventListener("change", () => stage.classList.toggle("heat", heat.checked));
  new ResizeObserver(show).observe(stage);

  // What is known of one kernel.
  const detail = by("detail");
  const make = (tag, text, kind) => { const made = document.createElement(tag); if (text !== undefined) made.textContent = text; if (kind) made.className = kind; return made; };
  const list = (title, items) => {
    if (!items.length) return;
    const found = make("ul");
    for (const item of items) found.append(typeof item === "string" ? make("li", item) : item);
    detail.append(make("h4", title), found);
  };
  const round = (value) => (value >= 100 ? value.toFixed(0) : value.toPrecision(3));
  const many = (value) => { for (const [limit, unit] of [[1e12, " T"], [1e9, " G"], [1e6, " M"], [1e4, " k"]]) if (value >= limit) return round(value / (unit === " k" ? 1e3 : limit)) + unit; return String(value); };
  const time = (ms) => (ms < 1 ? `${round(ms * 1e3)} us` : `${round(ms)} ms`);
  const total = facts.kernels.reduce((sum, kernel) => sum + (kernel.ms || 0), 0);
  let chosen = null;
  function choose(number, move = true) {
    const kernel = facts.kernels[number];
    if (!kernel) return;
    chosen = number;
    for (const marked of all(".chosen")) marked.classList.remove("chosen");
    for (const marked of all(`[data-k="${number}"]`)) marked.classList.add("chosen");
    for (const edge of edges) edge.classList.toggle("near", Number(edge.dataset.a) === number || Number(edge.dataset.b) === number);
    detail.replaceChildren();
    const head = make("h3");
    head.append(make("i", undefined, `dot ${kernel.family}`), kernel.title);
    detail.append(head, make("div", kernel.name, "soft mono"));
    const pairs = [["Operations", many(kernel.flops)], ["Bytes moved", many(kernel.bytes)]];
    if (kernel.bytes) pairs.push(["Operations per byte", round(kernel.flops / kernel.bytes)]);
    if (kernel.ms !== null) pairs.push(["Time", `${time(kernel.ms)}${total ? ` (${((100 * kernel.ms) / total).toFixed(1)}%)` : ""}`]);
    if (kernel.ms && kernel.flops) pairs.push(["Reached", `${round(kernel.flops / kernel.ms / 1e6)} GFLOP/s`]);
    if (kernel.roof !== null) pairs.push(["Of the roof", `${(100 * kernel.roof).toFixed(0)}%`]);
    for (const [label, value] of pairs) { const row = make("div", undefined, "pair"); row.append(make("span", label), make("b", value)); detail.append(row); }
    list(`Stands for ${kernel.origin.length} ${kernel.origin.length === 1 ? "node" : "nodes"} of the model`, kernel.origin.map(([name, op, outputs]) => { const item = make("li"); item.append(make("b", op || "?"), ` ${name}`); if (outputs) item.append(make("div", outputs, "faint mono")); return item; }));
    list("Inputs", kernel.inputs);
    list("Outputs", kernel.outputs);
    list("Weights", kernel.weights);
    list("Body", kernel.body.map((line) => make("li", line, "mono")));
    list("Steps", kernel.steps.map((step) => { const item = make("li"); item.append(make("b", step.kernel), step.ms === null ? "" : ` ${time(step.ms)}`); const known = Object.entries(step.facts).map(([k, v]) => `${k}=${v}`).join(" "); if (known) item.append(make("div", known, "faint mono")); return item; }));
    list("What the passes did", kernel.history);
    const before = edges.filter((e) => Number(e.dataset.b) === number).map((e) => Number(e.dataset.a));
    const after = edges.filter((e) => Number(e.dataset.a) === number).map((e) => Number(e.dataset.b));
    const link = (n) => { const item = make("li"), a = make("a", `${facts.kernels[n].title} · ${facts.kernels[n].name}`); a.addEventListener("click", () => choose(n)); item.append(a); return item; };
    const real = (numbers) => numbers.filter((n) => facts.kernels[n]).slice(0, 30).map(link);
    list("Reads from", real(before));
    list("Read by", real(after));
    detail.scrollTop = 0;
    if (move && boxes.has(number)) {
      const at = middle(boxes.get(number)), { w, h } = size();
      view.k = Math.max(view.k, 0.75);
      view.x = w / 2 - at.x * view.k;
      view.y = h / 2 - at.y * view.k;
      show();
    }
  }
  document.addEventListener("click", (event) => {
    const source = event.target.closest("tr[data-k], circle[data-k]");
    if (!source) return;
    choose(Number(source.dataset.k));
    by("graph-section").scrollIntoView();
  });
  stage.addEventListener("keydown", (event) => {
    if (chosen === null) return;
    const next = { ArrowDown: edges.find((e) => Number(e.dataset.a) === chosen && facts.kernels[e.dataset.b])?.dataset.b, ArrowUp: edges.find((e) => Number(e.dataset.b) === chosen && facts.kernels[e.dataset.a])?.dataset.a }[event.key];
    if (next !== undefined) { event.preventDefault(); choose(Number(next)); }
  });

  // Search by name, op or original node.
  const words = facts.kernels.map((k) => [k.title, k.name, k.op, ...k.origin.flat()].join(" ").toLowerCase());
  let hits = [], hit = -1;
  by("search").addEventListener("input", (event) => {
    const wanted = event.target.value.trim().toLowerCase();
    hits = wanted ? words.flatMap((text, n) => (text.includes(wanted) ? [n] : [])) : [];
    hit = -1;
    for (const [n, node] of boxes) node.classList.toggle("found", hits.includes(n));
    by("hits").textContent = wanted ? `${hits.length} found${hits.length ? ", Enter for the next" : ""}` : "";
  });
  by("search").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && hits.length) choose(hits[(hit = (hit + 1) % hits.length)]);
  });

  start();
  const slowest = facts.kernels.reduce((best, kernel, n) => ((kernel.ms || 0) > (facts.kernels[best]?.ms || 0) ? n : best), 0);
  choose(slowest, false);
})();
