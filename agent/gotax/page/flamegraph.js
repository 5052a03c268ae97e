// Draws a call tree (gotax.flamegraph/v1, see calltree.py) as a flame graph on a canvas, with a
// table of functions beside it. new FlameGraph(element, data) fills the element; the state (zoom,
// search, view) is in the fragment of the page's address, so that Back and links work.
"use strict";

const GROUPS = ["scheduler", "gc", "service", "user", "native", "unknown"];
const GROUP_WORDS = {
  scheduler: "scheduler", gc: "garbage collector", service: "allocation, channels, system calls",
  user: "user code", native: "C code", unknown: "unknown",
};
const INLINED = 1, KERNEL = 2, OTHER = 4;
const ROW = 20, PADDING = 4, NARROW = 0.6, ROWS_SHOWN = 100, ZOOM_MS = 180;

const percent = (share) => `${(share * 100).toFixed(Math.abs(share) < 0.0995 ? 2 : 1)} %`;
const seconds = (s) => (s >= 100 ? `${Math.round(s).toLocaleString("en")} s` : s >= 1
  ? `${s.toFixed(2)} s` : `${(s * 1000).toPrecision(3)} ms`);

function made(tag, settings = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(settings)) {
    if (name === "on") {
      for (const [event, work] of Object.entries(value)) element.addEventListener(event, work);
    } else if (name === "class") { element.className = value; } else if (value !== null) {
      element.setAttribute(name, value);
    }
  }
  element.append(...children);
  return element;
}

// Nodes in preorder, callers first. `total` and `before` include callees; `ids` do not depend on
// the order or on other nodes, so that a link still fits when the profile has changed.
class Tree {
  constructor(depth, name, place, flags, names, places) {
    Object.assign(this, {depth, name, place, flags, names, places});
    const n = this.size = depth.length;
    this.parent = new Int32Array(n);
    this.end = new Int32Array(n);
    this.total = new Float64Array(n);
    this.before = new Float64Array(n);
    this.own = new Float64Array(n);
    this.ownBefore = new Float64Array(n);
    this.groups = new Float64Array(n * GROUPS.length);
    this.count = new Map();
    this.ids = new Uint32Array(n);
    const last = [];
    for (let i = 0; i < n; i++) {
      for (let d = depth[i]; d < last.length; d++) this.end[last[d]] = i;
      last.length = depth[i];
      this.parent[i] = depth[i] ? last[depth[i] - 1] : -1;
      last.push(i);
      this.ids[i] = hash(depth[i] ? this.ids[this.parent[i]] : 2166136261, names[name[i]]);
    }
    for (const i of last) this.end[i] = n;
  }

  static of(data) {
    const {depth, name, place, flags} = data.nodes;
    const tree = new Tree(depth, name, place, flags, data.names, data.places);
    tree.count = new Map(data.merged);
    return tree;
  }

  // Adds the times of these categories up. Of two sides, `total` is after and `before` before.
  measure(data, hidden) {
    for (const array of [this.total, this.before, this.own, this.ownBefore, this.groups]) array.fill(0);
    const groups = data.categories.map(([, group]) => Math.max(0, GROUPS.indexOf(group)));
    const {node, category, side, time} = data.own;
    for (let i = 0; i < node.length; i++) {
      if (hidden.has(GROUPS[groups[category[i]]])) continue;
      if (data.sides === 2 && side[i] === 0) { this.ownBefore[node[i]] += time[i]; continue; }
      this.own[node[i]] += time[i];
      this.groups[node[i] * GROUPS.length + groups[category[i]]] += time[i];
    }
    this.addUp();
  }

  addUp() {
    this.total.set(this.own);
    this.before.set(this.ownBefore);
    const k = GROUPS.length;
    for (let i = this.size - 1; i > 0; i--) {
      const p = this.parent[i];
      this.total[p] += this.total[i];
      this.before[p] += this.before[i];
      for (let g = 0; g < k; g++) this.groups[p * k + g] += this.groups[i * k + g];
    }
    this.left = new Float64Array(this.size);
    const next = new Float64Array(this.size);
    for (let i = 1; i < this.size; i++) {
      const p = this.parent[i];
      this.left[i] = next[p] + this.left[p];
      next[p] += this.total[i];
    }
  }

  group(i) {
    const k = GROUPS.length;
    let best = k - 1;
    for (let g = 0; g < k; g++) if (this.groups[i * k + g] > this.groups[i * k + best]) best = g;
    return GROUPS[best];
  }

  label(i) {
    if (this.flags[i] & OTHER) return `other (${(this.count.get(i) ?? 1).toLocaleString("en")})`;
    const name = this.names[this.name[i]];
    return this.flags[i] & KERNEL ? `${name} [kernel]` : name;
  }

  byId(id) {
    const i = this.ids.indexOf(id);
    return i < 0 ? 0 : i;
  }

  // The nodes of a function that are not below another node of it: no time counts twice.
  outermost(name) {
    const found = [];
    for (let i = 0; i < this.size;) {
      if (this.name[i] === name) { found.push(i); i = this.end[i]; } else { i++; }
    }
    return found;
  }

  // All calls below a function, wherever it is called, or all callers above it.
  around(name, isCallers) {
    const k = GROUPS.length;
    const root = {source: -1, children: new Map(), own: 0, ownBefore: 0, groups: new Float64Array(k)};
    const child = (node, i) => {
      let found = node.children.get(this.name[i]);
      if (!found) {
        found = {source: i, children: new Map(), own: 0, ownBefore: 0, groups: new Float64Array(k)};
        node.children.set(this.name[i], found);
      }
      return found;
    };
    const count = (node, i, isOwn) => {
      node.own += isOwn ? this.own[i] : this.total[i];
      node.ownBefore += isOwn ? this.ownBefore[i] : this.before[i];
    };
    for (const top of this.outermost(name)) {
      if (root.source < 0) root.source = top;
      if (isCallers) {
        let node = root;
        for (let i = this.parent[top]; i > 0; i = this.parent[i]) node = child(node, i);
        count(node, top, false);
        for (let g = 0; g < k; g++) node.groups[g] += this.groups[top * k + g];
        continue;
      }
      const path = [];
      for (let i = top; i < this.end[top]; i++) {
        path.length = this.depth[i] - this.depth[top];
        const node = path.length ? child(path[path.length - 1], i) : root;
        path.push(node);
        count(node, i, true);
        for (let g = 0; g < k; g++) {
          let rest = this.groups[i * k + g];
          for (let c = i + 1; c < this.end[i]; c = this.end[c]) rest -= this.groups[c * k + g];
          node.groups[g] += rest;
        }
      }
    }
    const flat = [], waiting = [[root, 0]];
    while (waiting.length) {
      const [node, depth] = waiting.pop();
      flat.push([node, depth]);
      const children = [...node.children.values()];
      children.sort((a, b) => (this.label(a.source) < this.label(b.source) ? 1 : -1));
      for (const next of children) waiting.push([next, depth + 1]);
    }
    const pick = (array) => flat.map(([node]) => (node.source < 0 ? 0 : array[node.source]));
    const tree = new Tree(
      flat.map(([, depth]) => depth), pick(this.name), pick(this.place), pick(this.flags),
      this.names, this.places,
    );
    flat.forEach(([node], i) => {
      tree.own[i] = node.own;
      tree.ownBefore[i] = node.ownBefore;
      tree.groups.set(node.groups, i * k);
      if (this.count.has(node.source)) tree.count.set(i, this.count.get(node.source));
    });
    tree.addUp();
    return tree;
  }

  // Per function: its own time, and with callees (once per stack). Both are [after, before].
  functions() {
    const found = new Map(), open = new Map();
    const at = (i) => {
      const name = this.name[i];
      if (!found.has(name)) found.set(name, {name, node: i, own: [0, 0], total: [0, 0]});
      return found.get(name);
    };
    for (let i = 1; i < this.size; i++) {
      if (this.flags[i] & OTHER) continue;
      const row = at(i);
      row.own[0] += this.own[i];
      row.own[1] += this.ownBefore[i];
      if ((open.get(this.name[i]) ?? 0) <= i) {
        row.total[0] += this.total[i];
        row.total[1] += this.before[i];
        open.set(this.name[i], this.end[i]);
      }
    }
    return [...found.values()];
  }
}

function hash(seed, text) { // FNV-1a
  let value = seed;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 16777619);
  return Math.imul(value ^ 59, 16777619) >>> 0;
}

// One canvas. It draws only what the scrolled part shows; what is too narrow for a box is merged
// with its neighbours into a box "other (n)".
class Drawing {
  constructor(owner, label, isFlame) {
    Object.assign(this, {owner, isFlame, tree: null, from: 0, to: 1, current: 0, rows: [], zoomed: 0});
    this.canvas = made("canvas", {
      tabindex: "0", role: "img", "aria-label": label,
      on: {
        click: (event) => this.clicked(event), mousemove: (event) => this.moved(event),
        mouseleave: () => owner.show(null), keydown: (event) => this.pressed(event),
        focus: () => this.select(this.current), wheel: (event) => this.wheeled(event),
        dblclick: (event) => { const hit = this.hit(event); if (hit >= 0) owner.sandwich(this.tree, hit); },
        pointerdown: (event) => { this.dragged = {x: event.offsetX, from: this.from, to: this.to, far: false}; },
        pointerup: () => { this.dragged = this.dragged?.far ? this.dragged : null; },
      },
    });
    this.spacer = made("div", {class: "fg-spacer"}, this.canvas);
    this.box = made("div", {class: "fg-box", on: {scroll: () => this.draw()}}, this.spacer);
    new ResizeObserver(() => this.draw()).observe(this.box);
  }

  set(tree, zoomed = 0) {
    this.tree = tree;
    this.current = zoomed;
    this.zoomed = zoomed;
    [this.from, this.to] = this.range(zoomed);
    this.height = (tree.depth.reduce((a, b) => Math.max(a, b), 0) + 1) * ROW;
    this.spacer.style.height = `${this.height}px`;
    if (this.isFlame) this.box.scrollTop = this.height;
    this.draw();
  }

  range(i) {
    return [this.tree.left[i], this.tree.left[i] + Math.max(this.tree.total[i], 1e-12)];
  }

  zoom(i, isAnimated = true) {
    const [from, to] = this.range(i);
    this.zoomed = i;
    if (!isAnimated || matchMedia("(prefers-reduced-motion: reduce)").matches) {
      [this.from, this.to] = [from, to];
      return this.draw();
    }
    const start = performance.now(), [a, b] = [this.from, this.to];
    const step = (now) => {
      const t = Math.min(1, (now - start) / ZOOM_MS), eased = t * (2 - t);
      this.from = a + (from - a) * eased;
      this.to = b + (to - b) * eased;
      this.draw();
      if (t < 1 && this.zoomed === i) requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  draw() {
    if (!this.tree) return;
    const ratio = devicePixelRatio || 1, width = this.box.clientWidth;
    const height = Math.min(this.height, this.box.clientHeight || this.height);
    if (!width) return;
    if (this.canvas.width !== Math.round(width * ratio) || this.canvas.height !== Math.round(height * ratio)) {
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
      this.canvas.style.width = `${width}px`;
      this.canvas.style.height = `${height}px`;
    }
    const context = this.canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const paint = this.owner.colours();
    context.fillStyle = paint.card;
    context.fillRect(0, 0, width, height);
    context.font = paint.font;
    context.textBaseline = "middle";
    const letter = context.measureText("m").width;
    const scroll = this.box.scrollTop;
    this.rows = [];
    for (const box of this.boxes(width)) {
      (this.rows[box.row] ??= []).push(box);
      const y = this.y(box.row) - scroll;
      if (y > height || y + ROW < 0) continue;
      this.drawBox(context, box, y, paint, letter);
    }
  }

  y(row) {
    return this.isFlame ? this.height - (row + 1) * ROW : row * ROW;
  }

  *boxes(width) {
    const {tree, from, to} = this, scale = width / (to - from);
    let pending = null;
    for (let i = 0; i < tree.size;) {
      const left = (tree.left[i] - from) * scale, size = tree.total[i] * scale, row = tree.depth[i];
      if (left + size <= 0 || left >= width) { i = tree.end[i]; continue; }
      if (size >= NARROW) {
        if (pending) { if (pending.w >= NARROW) yield pending; pending = null; }
        const x = Math.max(0, left);
        yield {x, w: Math.min(width, left + size) - x, row, node: i, count: 1};
        i++;
        continue;
      }
      const count = tree.end[i] - i;
      if (pending && pending.row === row && left - (pending.x + pending.w) < NARROW) {
        pending.w = left + size - pending.x;
        pending.count += count;
      } else {
        if (pending && pending.w >= NARROW) yield pending;
        pending = {x: left, w: size, row, node: -1, count};
      }
      i = tree.end[i];
    }
    if (pending && pending.w >= NARROW) yield pending;
  }

  drawBox(context, {x, w, row, node, count}, y, paint, letter) {
    const tree = this.tree, isAbove = node >= 0 && row < tree.depth[this.zoomed];
    const isFound = node >= 0 && this.owner.isFound(tree, node);
    context.globalAlpha = isAbove ? 0.6 : this.owner.pattern && !isFound ? 0.35 : 1;
    context.fillStyle = node < 0 ? paint.other : isFound ? paint.found : this.owner.fill(tree, node, paint);
    context.fillRect(x, y + 0.5, Math.max(w - (w > 3 ? 0.8 : 0), 0.5), ROW - 1);
    context.globalAlpha = 1;
    if (node >= 0 && node === this.current && document.activeElement === this.canvas) {
      context.strokeStyle = paint.text;
      context.lineWidth = 2;
      context.strokeRect(x + 1, y + 1.5, Math.max(w - 2, 1), ROW - 3);
    }
    const room = Math.floor((w - 2 * PADDING) / letter);
    if (room < 3) return;
    const text = node < 0 ? `other (${count.toLocaleString("en")})` : tree.label(node);
    context.fillStyle = paint.frame;
    if (node >= 0 && tree.flags[node] & INLINED) context.font = paint.italic;
    context.fillText(fitted(text, room), x + PADDING, y + ROW / 2 + 0.5);
    context.font = paint.font;
  }

  hit(event) {
    const box = this.boxAt(event);
    return box ? box.node : -1;
  }

  boxAt(event) {
    const y = event.offsetY + this.box.scrollTop;
    const row = Math.floor(this.isFlame ? (this.height - y) / ROW : y / ROW);
    return (this.rows[row] ?? []).find((box) => event.offsetX >= box.x && event.offsetX < box.x + box.w);
  }

  clicked(event) {
    if (this.dragged?.far) { this.dragged = null; return; }
    const hit = this.hit(event);
    if (hit >= 0) { this.current = hit; this.owner.zoomTo(this, hit); }
  }

  moved(event) {
    if (this.dragged && event.buttons) {
      const moved = (this.dragged.x - event.offsetX) * (this.dragged.to - this.dragged.from) / this.box.clientWidth;
      if (Math.abs(this.dragged.x - event.offsetX) > 3) this.dragged.far = true;
      if (this.dragged.far) return this.pan(this.dragged.from + moved, this.dragged.to + moved);
    }
    const box = this.boxAt(event);
    this.canvas.style.cursor = box?.node >= 0 ? "pointer" : "default";
    this.owner.show(box ? this.owner.described(this.tree, box) : null, event);
  }

  pan(from, to) {
    const all = this.tree.total[0], size = Math.min(to - from, all);
    this.from = Math.max(0, Math.min(from, all - size));
    this.to = this.from + size;
    this.draw();
  }

  wheeled(event) {
    if (!event.ctrlKey && !event.shiftKey) return;
    event.preventDefault();
    const size = this.to - this.from, at = this.from + size * event.offsetX / this.box.clientWidth;
    if (event.shiftKey) return this.pan(this.from + size * event.deltaY / 1000, this.to + size * event.deltaY / 1000);
    const factor = Math.exp(event.deltaY / 300);
    this.pan(at - (at - this.from) * factor, at + (this.to - at) * factor);
  }

  select(i) {
    this.current = i;
    const top = this.y(this.tree.depth[i]);
    if (top < this.box.scrollTop) this.box.scrollTop = top;
    else if (top + ROW > this.box.scrollTop + this.box.clientHeight) this.box.scrollTop = top + ROW - this.box.clientHeight;
    this.draw();
    this.owner.tell(this.owner.described(this.tree, {node: i, count: 1}));
  }

  pressed(event) {
    const {tree, current} = this, up = this.isFlame ? "ArrowDown" : "ArrowUp", down = this.isFlame ? "ArrowUp" : "ArrowDown";
    const sibling = (step) => {
      const parent = tree.parent[current];
      if (parent < 0) return current;
      let before = current;
      for (let i = parent + 1; i < tree.end[parent]; i = tree.end[i]) {
        if (step > 0 && i > current && tree.total[i] > 0) return i;
        if (step < 0 && i >= current) return before;
        if (tree.total[i] > 0) before = i;
      }
      return step < 0 ? before : current;
    };
    const widest = () => {
      let best = current;
      for (let i = current + 1; i < tree.end[current]; i = tree.end[i]) {
        if (best === current || tree.total[i] > tree.total[best]) best = i;
      }
      return best;
    };
    const moves = {
      [up]: () => this.select(Math.max(tree.parent[current], 0)), [down]: () => this.select(widest()),
      ArrowLeft: () => this.select(sibling(-1)), ArrowRight: () => this.select(sibling(1)),
      Home: () => this.select(0),
      Enter: () => this.owner.zoomTo(this, current),
      Escape: () => this.owner.zoomTo(this, 0),
      s: () => this.owner.sandwich(tree, current),
    };
    const move = moves[event.key];
    if (!move || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    move();
  }
}

// The end of a Go name says most: of github.com/a/b/pkg.(*T).Method, first pkg.(*T).Method stays.
function fitted(text, room) {
  if (text.length <= room) return text;
  const short = text.slice(text.lastIndexOf("/") + 1);
  return short.length <= room ? short : `${short.slice(0, room - 1)}…`;
}

class FlameGraph {
  constructor(element, data) {
    Object.assign(this, {element, data, hidden: new Set(), pattern: null, sort: "own", shown: ROWS_SHOWN});
    this.isDifference = data.sides === 2;
    this.tree = Tree.of(data);
    this.tree.measure(data, this.hidden);
    this.main = new Drawing(this, "Flame graph. Arrow keys move between calls, Enter zooms, Escape goes"
      + " back, s shows callers and callees. The table has the same numbers.", false);
    this.callers = new Drawing(this, "Callers of the chosen function", true);
    this.callees = new Drawing(this, "Callees of the chosen function", false);
    this.build();
    this.main.set(this.tree);
    window.addEventListener("popstate", () => this.restore());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.redraw());
    this.restore();
  }

  build() {
    this.search = made("input", {
      type: "search", placeholder: "search: a regular expression", "aria-label": "Search functions",
      class: "fg-search", on: {input: () => { this.find(this.search.value); this.remember(false); }},
    });
    this.matched = made("output", {class: "fg-matched"});
    this.legend = made("div", {class: "fg-legend", role: "group", "aria-label": "Categories"});
    const used = new Set(this.data.own.category.map((c) => this.data.categories[c][1]));
    for (const group of GROUPS) {
      if (!used.has(group)) continue;
      this.legend.append(made("button", {
        type: "button", "aria-pressed": "true", class: "fg-key", title: "show or hide",
        on: {click: (event) => this.toggle(group, event.currentTarget)},
      }, made("span", {class: `fg-swatch ${this.isDifference ? "" : group}`}), GROUP_WORDS[group]));
    }
    const button = (text, work, title = null) => made("button", {type: "button", title, on: {click: work}}, text);
    this.turned = button("flame", () => { this.turn(!this.main.isFlame); this.remember(true); }, "turn the graph over");
    this.tooltip = made("div", {class: "fg-tooltip", hidden: ""});
    this.detail = made("div", {class: "fg-detail", "aria-live": "polite"});
    this.sides = made("div", {class: "fg-sandwich", hidden: ""});
    this.table = made("div", {class: "fg-table"});
    const exports = made("details", {class: "fg-export"}, made("summary", {}, "export"), made("div", {},
      button("folded", () => this.save("folded", this.folded())),
      button("speedscope", () => this.save("speedscope.json", JSON.stringify(this.speedscope()))),
      button("SVG", () => this.save("svg", this.svg()))));
    this.element.classList.add("flamegraph");
    this.element.append(
      made("div", {class: "fg-bar"}, this.search, this.matched, this.legend, made("span", {class: "fg-end"},
        button("reset", () => { this.find(""); this.zoomTo(this.main, 0); }), this.turned, exports)),
      this.main.box, this.sides, this.detail, this.table, this.tooltip,
    );
    document.addEventListener("keydown", (event) => {
      if (event.key === "/" && !/^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement.tagName)) {
        event.preventDefault();
        this.search.focus();
      }
    });
    this.list();
  }

  colours() {
    const style = getComputedStyle(this.element), of = (name) => style.getPropertyValue(name).trim();
    const font = `12px ${of("--fg-font") || "monospace"}`;
    const found = {card: of("--card"), text: of("--text"), frame: of("--frame-text"), found: "#d05ce3", other: of("--line"), font, italic: `italic ${font}`};
    for (const group of GROUPS) found[group] = of(`--${group}`);
    return found;
  }

  fill(tree, i, paint) {
    if (tree.flags[i] & OTHER) return paint.other;
    if (!this.isDifference) return i === 0 && tree === this.tree ? paint.unknown : paint[tree.group(i)];
    const change = this.change(tree.total[i], tree.before[i]);
    const size = Math.min(1, Math.sqrt(Math.abs(change) / 0.1));
    const mix = (a, b) => Math.round(a + (b - a) * size);
    const [r, g, b] = change > 0 ? [224, 68, 58] : [76, 127, 224];
    return `rgb(${mix(214, r)} ${mix(218, g)} ${mix(222, b)})`;
  }

  change(after, before) {
    const totals = [this.tree.total[0] || 1, this.tree.before[0] || 1];
    return after / totals[0] - before / totals[1];
  }

  described(tree, {node, count}) {
    if (node < 0) return [`${count.toLocaleString("en")} calls, each too narrow to draw: zoom in`];
    const all = this.tree.total[0] || 1, unit = this.data.seconds_per_unit;
    const lines = [tree.label(node) + (tree.flags[node] & INLINED ? " (inlined)" : "")];
    const place = tree.places[tree.place[node]];
    if (place) lines.push(place);
    if (tree.flags[node] & OTHER) lines.push("calls with least time, merged");
    if (this.isDifference) {
      lines.push(`${percent(tree.before[node] / (this.tree.before[0] || 1))} → ${percent(tree.total[node] / all)}`
        + ` (${(this.change(tree.total[node], tree.before[node]) * 100).toFixed(2)} points)`);
    } else {
      lines.push(`total ${seconds(tree.total[node] * unit)}, ${percent(tree.total[node] / all)};`
        + ` self ${seconds(tree.own[node] * unit)}, ${percent(tree.own[node] / all)}`);
      lines.push(`mostly ${GROUP_WORDS[tree.group(node)]}`);
    }
    return lines;
  }

  show(lines, event) {
    this.tooltip.hidden = !lines;
    if (!lines) return;
    this.tooltip.replaceChildren(...lines.map((line, i) => made(i ? "div" : "b", {}, line)));
    const room = [innerWidth - this.tooltip.offsetWidth - 12, innerHeight - this.tooltip.offsetHeight - 12];
    this.tooltip.style.left = `${Math.max(4, Math.min(event.clientX + 14, room[0]))}px`;
    this.tooltip.style.top = `${Math.max(4, Math.min(event.clientY + 14, room[1]))}px`;
  }

  tell(lines) { this.detail.textContent = lines.join(" · "); }

  zoomTo(drawing, i) {
    drawing.zoom(i);
    this.tell(this.described(drawing.tree, {node: i, count: 1}));
    if (drawing === this.main) this.remember(true);
  }

  isFound(tree, i) {
    return this.pattern !== null && !(tree.flags[i] & OTHER) && this.foundNames[tree.name[i]] === 1;
  }

  find(text) {
    if (this.search.value !== text) this.search.value = text;
    this.pattern = null;
    this.matched.textContent = "";
    this.search.setCustomValidity("");
    if (text) {
      try { this.pattern = new RegExp(text, "i"); } catch {
        this.search.setCustomValidity("not a regular expression");
        this.matched.textContent = "not a regular expression";
      }
    }
    if (this.pattern) {
      this.foundNames = Uint8Array.from(this.data.names, (name) => (this.pattern.test(name) ? 1 : 0));
      let sum = 0;
      for (let i = 1; i < this.tree.size;) {
        if (this.isFound(this.tree, i)) { sum += this.tree.total[i]; i = this.tree.end[i]; } else { i++; }
      }
      this.matched.textContent = `${percent(sum / (this.tree.total[0] || 1))} matches`;
    }
    this.redraw();
  }

  toggle(group, button) {
    if (!this.hidden.delete(group)) this.hidden.add(group);
    button.setAttribute("aria-pressed", String(!this.hidden.has(group)));
    this.tree.measure(this.data, this.hidden);
    [this.main.from, this.main.to] = this.main.range(this.main.zoomed);
    this.find(this.search.value);
  }

  turn(isFlame) {
    this.main.isFlame = isFlame;
    this.turned.textContent = isFlame ? "icicle" : "flame";
    this.main.set(this.tree, this.main.zoomed);
  }

  sandwich(tree, i) { this.open(tree.flags[i] & OTHER ? null : tree.name[i]); this.remember(true); }

  open(name) {
    this.chosen = name;
    this.sides.hidden = name === null;
    if (name === null) { this.sides.replaceChildren(); return; }
    const title = made("div", {class: "fg-row"}, made("h3", {}, this.data.names[name]), made("button", {
      type: "button", on: {click: () => { this.open(null); this.remember(true); }},
    }, "close"));
    this.sides.replaceChildren(title, made("h4", {}, "callers"), this.callers.box, made("h4", {}, "callees"), this.callees.box);
    this.callers.set(this.tree.around(name, true));
    this.callees.set(this.tree.around(name, false));
  }

  list() {
    const unit = this.data.seconds_per_unit, all = this.tree.total[0] || 1, was = this.tree.before[0] || 1;
    let rows = this.tree.functions();
    if (this.pattern) rows = rows.filter((row) => this.foundNames[row.name]);
    const keys = {
      own: (row) => row.own[0], total: (row) => row.total[0],
      change: (row) => Math.abs(this.change(row.own[0], row.own[1])),
    };
    const key = keys[this.sort];
    rows.sort((a, b) => key(b) - key(a) || (this.data.names[a.name] < this.data.names[b.name] ? -1 : 1));
    const head = (text, sort) => made("th", {scope: "col", "aria-sort": this.sort === sort ? "descending" : "none"}, made("button", {
      type: "button", on: {click: () => { this.sort = sort; this.list(); }},
    }, text));
    const cell = (text) => made("td", {}, text);
    const cells = (row) => (this.isDifference
      ? [cell(percent(row.own[1] / was)), cell(percent(row.own[0] / all)), cell(`${(this.change(row.own[0], row.own[1]) * 100).toFixed(2)}`), cell(percent(row.total[1] / was)), cell(percent(row.total[0] / all))]
      : [cell(percent(row.own[0] / all)), cell(percent(row.total[0] / all)), cell(seconds(row.own[0] * unit)), cell(seconds(row.total[0] * unit))]);
    const heads = this.isDifference
      ? [head("self before", "own"), head("self after", "own"), head("change, points", "change"), head("total before", "total"), head("total after", "total")]
      : [head("self", "own"), head("total", "total"), head("self", "own"), head("total", "total")];
    const body = rows.slice(0, this.shown).map((row) => made("tr", {}, made("td", {class: "l"}, made("button", {
      type: "button", class: "fg-function", title: "callers and callees",
      on: {click: () => { this.open(row.name); this.remember(true); this.sides.scrollIntoView({block: "nearest"}); }},
    }, this.data.names[row.name])), ...cells(row)));
    this.table.replaceChildren(made("table", {}, made("caption", {}, `Functions: ${rows.length.toLocaleString("en")}`),
      made("thead", {}, made("tr", {}, made("th", {scope: "col", class: "l"}, "function"), ...heads)), made("tbody", {}, ...body)));
    if (rows.length > this.shown) {
      this.table.append(made("button", {type: "button", on: {click: () => { this.shown *= 4; this.list(); }}},
        `${(rows.length - this.shown).toLocaleString("en")} more`));
    }
  }

  redraw() {
    this.main.draw();
    if (this.chosen != null) this.open(this.chosen);
    this.list();
  }

  // The state is in the fragment: z is the zoomed call, s the search, f the function of the
  // sandwich, o the orientation.
  remember(isStep) {
    const state = new URLSearchParams();
    if (this.main.zoomed) state.set("z", this.tree.ids[this.main.zoomed].toString(36));
    if (this.search.value) state.set("s", this.search.value);
    if (this.chosen != null) state.set("f", this.data.names[this.chosen]);
    if (this.main.isFlame) state.set("o", "flame");
    const address = state.size === 0 ? location.pathname + location.search : `#${state}`;
    if (location.hash.slice(1) === String(state)) return;
    if (isStep) history.pushState(null, "", address); else history.replaceState(null, "", address);
  }

  restore() {
    const state = new URLSearchParams(location.hash.slice(1));
    if (this.main.isFlame !== (state.get("o") === "flame")) this.turn(state.get("o") === "flame");
    this.find(state.get("s") ?? "");
    this.main.zoom(state.has("z") ? this.tree.byId(parseInt(state.get("z"), 36)) : 0, false);
    this.main.current = this.main.zoomed;
    const name = state.has("f") ? this.data.names.indexOf(state.get("f")) : -1;
    this.open(name < 0 ? null : name);
  }

  save(ending, text) {
    const name = `${this.data.title.replace(/[^\w.-]+/g, "-").slice(0, 80) || "profile"}.${ending}`;
    const address = URL.createObjectURL(new Blob([text]));
    made("a", {href: address, download: name}).click();
    URL.revokeObjectURL(address);
  }

  *stacks() {
    const path = [];
    for (let i = 0; i < this.tree.size; i++) {
      path.length = this.tree.depth[i];
      path.push(i);
      if (this.tree.own[i] > 0) yield [path.slice(1), this.tree.own[i]];
    }
  }

  folded() {
    const clean = (i) => this.tree.label(i).replace(/[;\s]+/g, " ");
    return [...this.stacks()].map(([path, time]) => `${path.map(clean).join(";") || "all"} ${time}\n`).join("");
  }

  speedscope() {
    const frames = [], index = new Map(), samples = [], weights = [];
    for (const [path, time] of this.stacks()) {
      samples.push(path.map((i) => {
        const key = this.tree.label(i);
        if (!index.has(key)) {
          index.set(key, frames.length);
          const [, file, line] = /^(.*?)(?::(\d+))?$/.exec(this.tree.places[this.tree.place[i]]) ?? [];
          frames.push({name: key, ...(file ? {file} : {}), ...(line ? {line: Number(line)} : {})});
        }
        return index.get(key);
      }));
      weights.push(time * this.data.seconds_per_unit);
    }
    return {
      $schema: "https://www.speedscope.app/file-format-schema.json", exporter: "gotax", name: this.data.title,
      shared: {frames},
      profiles: [{type: "sampled", name: this.data.title, unit: "seconds", startValue: 0,
        endValue: weights.reduce((a, b) => a + b, 0), samples, weights}],
    };
  }

  svg() {
    const width = this.main.box.clientWidth || 1200, paint = this.colours();
    const escape = (text) => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`).replace(/[\x00-\x08\x0b\x0c\x0e-\x1f]/g, "�");
    const parts = [`<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${this.main.height}" font-family="monospace" font-size="12">\n`];
    for (const box of this.main.boxes(width)) {
      const text = box.node < 0 ? `other (${box.count})` : this.tree.label(box.node);
      const fill = box.node < 0 ? paint.other : this.fill(this.tree, box.node, paint), room = Math.floor((box.w - 2 * PADDING) / 7.3);
      const y = this.main.y(box.row);
      parts.push(`<g><title>${escape(this.described(this.tree, box).join("\n"))}</title><rect x="${box.x.toFixed(2)}" y="${y}" width="${box.w.toFixed(2)}" height="${ROW - 1}" fill="${fill}"/>`);
      if (room >= 3) parts.push(`<text x="${(box.x + PADDING).toFixed(1)}" y="${y + 14}" fill="${paint.frame}">${escape(fitted(text, room))}</text>`);
      parts.push("</g>\n");
    }
    return `${parts.join("")}</svg>\n`;
  }
}

for (const element of document.querySelectorAll("[data-flamegraph]")) {
  window.graph = new FlameGraph( // for the console
    element, JSON.parse(document.getElementById(element.dataset.flamegraph).textContent));
}
