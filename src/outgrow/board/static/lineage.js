// Lineage: what came of what, in columns from rows to aliases and predictions.

page("lineage", { title: "Lineage", key: "l", draw: drawLineage, on: reloads("run.began", "run.ended", "data.seen", "model.added", "alias.moved") });

const TONES = { source: 5, data: 0, run: 3, model: 2, version: 2, alias: 4, predictions: 1 };

function drawLineage(root, data, query) {
  const change = (words) => go("lineage", { ...query, ...words });
  const what = el("input", { type: "search", name: "what", "data-keep": "what", value: query.what || "", placeholder: "late@champion, a run, or the path of data", "aria-label": "Lineage of", spellcheck: "false", autocomplete: "off" });
  put(root, head("Lineage", el("span", { class: "muted" }, data.all ? `${number(data.nodes.length)} of ${number(data.all)} things` : "")));
  put(root, el("form", { class: "tools", onsubmit: (event) => (event.preventDefault(), change({ what: what.value.trim(), node: null })) }, what, el("button", { type: "submit" }, "Show"), query.what ? el("button", { type: "button", onclick: () => change({ what: null, node: null }) }, "Everything") : null));
  if (!data.nodes.length) {
    put(root, empty("Nothing is recorded yet. Record a fit and what it reads:", "OUTGROW_LOG=ops.db outgrow run job.yaml"));
    return;
  }
  const chosen = data.nodes.find(({ id }) => id === query.node);
  const note = data.left_out ? `the latest; ${number(data.left_out)} more are left out` : "click a thing for its facts; twice for its own lineage";
  const drawing = figure("What came of what", graph(data, query, change), { note, wide: true, csv: () => [["from", "to", "role"], ...data.edges.map(({ from, to, role }) => [from, to, role])] });
  drawing.classList.add("scrolls");
  put(root, drawing);
  put(root, el("div", { class: "legend" }, data.kinds.filter((kind) => data.nodes.some((node) => node.kind === kind)).map((kind) => el("span", {}, el("i", { color: color(TONES[kind]) }), kind))));
  if (chosen) put(root, el("p", {}), nodeCard(chosen, data, change));
  put(root, el("p", {}), table("Things", [
    { name: "kind" }, { name: "label", title: "what", wrap: true },
    { name: "above", title: "came of", wrap: true, value: ({ id }) => data.edges.filter(({ to }) => to === id).map(({ from, role }) => labelOf(data, from) + (role ? ` (${role})` : "")).join(", ") },
  ], data.nodes, { open: ({ id }) => change({ node: id }), key: ({ id }) => id }));
}

const labelOf = (data, id) => data.nodes.find((node) => node.id === id)?.label || id;

const graph = (data, query, change) => (width) => {
  const columns = Math.max(...data.nodes.map(({ column }) => column)) + 1;
  const gap = 40, wide = Math.max(140, Math.min(230, (width - 8 - gap * (columns - 1)) / columns));
  const high = 44, space = 12;
  const rows = places(data, columns);
  const tallest = Math.max(...rows.map((column) => column.length));
  const full = Math.max(width, columns * wide + (columns - 1) * gap + 4);
  const left = (full - columns * wide - (columns - 1) * gap) / 2;
  const at = new Map();
  rows.forEach((column, x) => column.forEach((node, y) => at.set(node.id, [left + x * (wide + gap), 4 + y * (high + space) + ((tallest - column.length) * (high + space)) / 2])));
  const near = query.node ? related(data, query.node) : null;
  const drawing = canvas(full, 8 + tallest * (high + space) - space,
    data.edges.map(({ from, to, role }) => edge(at.get(from), at.get(to), wide, high, role, near && near.has(from) && near.has(to))),
    data.nodes.map((node) => {
      const [x, y] = at.get(node.id);
      const open = () => change({ node: node.id });
      return svg("g", { class: `node${near && !near.has(node.id) ? " far" : ""}`, "data-link": "", "data-node": node.id, tabindex: 0, role: "button", "aria-label": `${node.kind} ${node.label}`, onclick: open, ondblclick: () => change({ what: node.id, node: null }), onkeydown: (event) => event.key === "Enter" && open(), ...tipped(el("div", { class: "muted" }, node.kind), node.label) },
        svg("rect", { class: "box", x, y, width: wide, height: high, rx: 7 }),
        svg("rect", { x, y: y + 7, width: 3.5, height: high - 14, rx: 1.75, fill: color(TONES[node.kind]) }),
        svg("text", { x: x + 13, y: y + 17 }, node.kind),
        svg("text", { class: "ink", x: x + 13, y: y + 33 }, shortened(node.label, wide - 22)),
        query.node === node.id ? svg("rect", { class: "chosen", x, y, width: wide, height: high, rx: 7 }) : null);
    }));
  return drawing;
};

/* The end of a path says more than its beginning. */
const shortened = (text, pixels) => (text.length * 6.2 <= pixels ? text : text.includes("/") && !text.includes(" ") ? `…${text.slice(-Math.floor(pixels / 6.2) + 1)}` : clipped(text, pixels));

/* Each thing near what it came of: columns are sorted by the middle of the things before, and then of those after. */
function places(data, columns) {
  const rows = Array.from({ length: columns }, (_, x) => data.nodes.filter(({ column }) => column === x).sort((a, b) => a.row - b.row));
  const order = (towards) => {
    const rank = new Map(rows.flatMap((column) => column.map((node, y) => [node.id, y - column.length / 2])));
    for (const column of rows) {
      const middle = (node) => {
        const near = data.edges.filter((one) => one[towards === "from" ? "to" : "from"] === node.id).map((one) => rank.get(one[towards]));
        return near.length ? near.reduce((a, b) => a + b, 0) / near.length : rank.get(node.id);
      };
      const middles = new Map(column.map((node) => [node.id, middle(node)]));
      column.sort((a, b) => middles.get(a.id) - middles.get(b.id));
      column.forEach((node, y) => rank.set(node.id, y - column.length / 2));
    }
  };
  for (const towards of ["from", "to", "from"]) order(towards);
  return rows;
}

function edge(from, to, wide, high, role, strong) {
  const [x0, y0, x1, y1] = [from[0] + wide, from[1] + high / 2, to[0], to[1] + high / 2];
  const bend = Math.max(20, (x1 - x0) / 2);
  return svg("path", { class: `edge${strong ? " strong" : ""}`, d: `M${x0} ${y0}C${x0 + bend} ${y0} ${x1 - bend} ${y1} ${x1} ${y1}` }, role ? svg("title", {}, role) : null);
}

/* What a thing came of, and what came of it. */
function related(data, id) {
  const reached = new Set([id]);
  for (const [here, there] of [["to", "from"], ["from", "to"]]) {
    const waiting = [id];
    while (waiting.length) {
      const name = waiting.pop();
      for (const one of data.edges) if (one[here] === name && !reached.has(one[there])) reached.add(one[there]), waiting.push(one[there]);
    }
  }
  return reached;
}

function nodeCard(node, data, change) {
  const run = node.kind === "run" ? node.id.slice(4) : node.facts.run;
  const times = ["began", "ended"];
  const told = Object.entries(node.facts).filter(([name, value]) => !missing(value) && name !== "run").map(([name, value]) => [name, times.includes(name) ? date(value) : plain(value).slice(0, 400)]);
  return el("div", { class: "card", "data-facts": node.id },
    el("div", { class: "head" }, el("h2", { class: "flush" }, node.label), el("span", { class: "chip" }, node.kind), el("span", { class: "space" }), el("button", { type: "button", onclick: () => change({ what: node.id, node: null }) }, "Its lineage"), el("button", { type: "button", onclick: () => change({ node: null }) }, "Close")),
    facts([...(run ? [["run", runLink(run)]] : []), ...told]));
}
