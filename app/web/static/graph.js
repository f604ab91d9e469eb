// A workflow's tasks drawn in layers, from top to bottom. No library: place by longest path, order
// each layer by the mean place of what leads to it, draw curves.

import { s } from "./dom.js";

const WIDTH = 168, HEIGHT = 46, GAP_X = 26, GAP_Y = 46, MARGIN = 16;

/** Layers of task names; an edge that closes a loop does not count for the place. */
export function layers(tasks, edges) {
  const names = tasks.map((task) => task.name);
  const after = new Map(names.map((name) => [name, []]));
  for (const { from, to } of edges) after.get(from)?.push(to);
  const back = new Set(), seen = new Map();
  // Depth first without recursion: a chain may be thousands of tasks long.
  for (const root of names) {
    if (seen.has(root)) continue;
    const stack = [[root, 0]];
    seen.set(root, "open");
    while (stack.length) {
      const top = stack.at(-1);
      const [name, index] = top;
      const next = after.get(name)[index];
      if (next === undefined) { seen.set(name, "done"); stack.pop(); continue; }
      top[1] += 1;
      if (seen.get(next) === "open") back.add(`${name} ${next}`);
      else if (!seen.has(next) && after.has(next)) { seen.set(next, "open"); stack.push([next, 0]); }
    }
  }
  const forward = edges.filter(({ from, to }) => after.has(from) && after.has(to) && !back.has(`${from} ${to}`));
  const degree = new Map(names.map((name) => [name, 0]));
  for (const { to } of forward) degree.set(to, degree.get(to) + 1);
  const depth = new Map(names.map((name) => [name, 0]));
  const ready = names.filter((name) => degree.get(name) === 0);
  const following = new Map(names.map((name) => [name, []]));
  for (const { from, to } of forward) following.get(from).push(to);
  for (let i = 0; i < ready.length; i++) {
    for (const to of following.get(ready[i])) {
      depth.set(to, Math.max(depth.get(to), depth.get(ready[i]) + 1));
      degree.set(to, degree.get(to) - 1);
      if (degree.get(to) === 0) ready.push(to);
    }
  }
  const result = [];
  for (const name of names) (result[depth.get(name)] ??= []).push(name);
  const leading = new Map(names.map((name) => [name, []]));
  for (const { from, to } of forward) leading.get(to).push(from);
  const place = new Map();
  result.forEach((layer) => {
    const mean = (name) => {
      const places = leading.get(name).map((from) => place.get(from) ?? 0);
      return places.length ? places.reduce((a, b) => a + b, 0) / places.length : layer.indexOf(name) / layer.length;
    };
    const keys = new Map(layer.map((name) => [name, mean(name)]));
    layer.sort((a, b) => keys.get(a) - keys.get(b));
    layer.forEach((name, i) => place.set(name, (i + 0.5) / layer.length));
  });
  return result;
}

const short = (text, most) => (text.length > most ? text.slice(0, most - 1) + "…" : text);

/**
 * The drawing of a workflow.
 * tasks: [{name, what, join}], edges: [{from, to, kind}]
 * look: name -> {state, picked}; taken: Set of "from to"; pick: called with a task's name
 */
export function graph({ tasks, edges }, { look = () => ({}), taken = new Set(), pick } = {}) {
  const rows = layers(tasks, edges);
  const widest = Math.max(1, ...rows.map((row) => row.length));
  const width = MARGIN * 2 + widest * WIDTH + (widest - 1) * GAP_X;
  const height = MARGIN * 2 + rows.length * HEIGHT + (rows.length - 1) * GAP_Y;
  const at = new Map();
  rows.forEach((row, y) => {
    const left = (width - row.length * WIDTH - (row.length - 1) * GAP_X) / 2;
    row.forEach((name, x) => at.set(name, { x: left + x * (WIDTH + GAP_X), y: MARGIN + y * (HEIGHT + GAP_Y) }));
  });
  const curves = edges.filter(({ from, to }) => at.has(from) && at.has(to)).map(({ from, to, kind }) => {
    const a = at.get(from), b = at.get(to);
    const x1 = a.x + WIDTH / 2, y1 = a.y + HEIGHT, x2 = b.x + WIDTH / 2, y2 = b.y;
    // A way back leaves and arrives at the side.
    const path = b.y > a.y
      ? `M${x1},${y1} C${x1},${y1 + GAP_Y * 0.6} ${x2},${y2 - GAP_Y * 0.6} ${x2},${y2 - 5}`
      : `M${a.x + WIDTH},${a.y + HEIGHT / 2} C${a.x + WIDTH + 60},${a.y + HEIGHT / 2} ${b.x + WIDTH + 60},${b.y + HEIGHT / 2} ${b.x + WIDTH + 5},${b.y + HEIGHT / 2}`;
    return s("path", { d: path, class: `edge ${kind} ${taken.has(`${from} ${to}`) ? "taken" : ""}`, "marker-end": "url(#tip)" },
      s("title", {}, `${from} → ${to} (${kind})`));
  });
  const nodes = tasks.map((task) => {
    const { x, y } = at.get(task.name);
    const { state = "", picked = false } = look(task.name);
    return s("g", {
      class: `node ${state} ${task.join ? "join" : ""} ${picked ? "picked" : ""} ${pick ? "pick" : ""}`,
      transform: `translate(${x},${y})`,
      onclick: pick ? () => pick(task.name) : undefined,
    },
      s("title", {}, `${task.name}\n${task.what}${task.join ? `\njoin: ${task.join}` : ""}${state ? `\n${state}` : ""}`),
      s("rect", { width: WIDTH, height: HEIGHT, rx: 7 }),
      s("text", { x: 10, y: 20 }, short(task.name, 21)),
      s("text", { x: 10, y: 36, class: "what" }, short(task.what, 26)));
  });
  return s("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img" },
    s("defs", {}, s("marker", { id: "tip", viewBox: "0 0 8 8", refX: 5, refY: 4, markerWidth: 6, markerHeight: 6, orient: "auto" },
      s("path", { d: "M0,0 L8,4 L0,8 z", class: "tip" }))),
    curves, nodes);
}
