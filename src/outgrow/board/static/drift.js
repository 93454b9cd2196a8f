// Drift: columns by windows as a heat map; a cell opens both distributions, and its address leads there again.

const VERDICTS = { drift: "bad", watch: "warn", "cannot say": "", ok: "good" };
const verdict = (word) => el("span", {}, el("i", { class: `dot ${VERDICTS[word] || ""}` }), word);
const hour = (time) => date(time).slice(0, 16);

page("drift", {
  title: "Drift",
  key: "d",
  async load(query) {
    const { column, start, ...others } = query;
    const [whole, cell] = await Promise.all([api("drift", others), column ? api("drift", query) : null]);
    return { ...whole, cell };
  },
  draw: drawDrift,
  on: reloads("window.folded", "finding", "alert"),
});

/* A choice among words; nothing where there is none to make. */
function selection(label, words, value, change, all) {
  if (words.length < 2 && !all) return null;
  const options = [...(all ? [["", all]] : []), ...words.map((word) => (Array.isArray(word) ? word : [word, word || "none"]))];
  return el("label", {}, label, el("select", { "data-keep": `choice ${label}`, "aria-label": label, onchange: (event) => change(event.target.value) }, options.map(([word, text]) => el("option", { value: word, selected: word === (value || "") }, text))));
}

function drawDrift(root, data, query) {
  const change = (words) => go("drift", { ...query, column: null, start: null, ...words });
  put(root, head("Drift", data.model ? el("span", { class: "muted" }, data.model) : null));
  if (!data.model) {
    put(root, empty("No windows of a model are recorded yet. Watch one:", "outgrow watch store/ log/ --log ops.db --window 1h"));
    return;
  }
  put(root, el("div", { class: "tools" },
    selection("Model", data.models, data.model, (model) => change({ model, version: null })),
    data.versions.length > 1 ? selection("Version", data.versions, query.version, (version) => change({ version }), "all") : null));
  put(root, driftTiles(data));
  if (data.cell) put(root, drawCell(data.cell, query));
  if (data.windows.length) put(root, heatFigure(data, query), el("p", {}));
  else put(root, empty(`${number(data.windows_waiting)} windows wait to be judged: a window is judged when a later one has begun.`));
  put(root, alertTable(data.alerts), el("p", {}), windowTable(data, query));
}

function driftTiles({ windows, alerts, windows_judged: judged, windows_waiting: waiting }) {
  const last = windows[windows.length - 1];
  const open = alerts.filter(({ closed }) => missing(closed)).length;
  return tiles([
    [last ? verdict(last.verdict) : NONE, last ? `last window, ${ago(last.end)}` : "last window"],
    [last ? number(last.drifted.length) : NONE, "columns drift in it"],
    [number(judged), waiting ? `windows judged, ${number(waiting)} wait` : "windows judged"],
    [el("span", { class: open ? "bad" : null }, number(open)), open === 1 ? "alert is open" : "alerts are open"],
  ]);
}

// ---- the map -----------------------------------------------------------------------------------------

function heatFigure(data, query) {
  const note = `${number(data.columns.length + data.columns_left_out)} columns, ${number(data.windows_judged)} windows${data.windows_judged > data.windows.length ? "; a cell is the gravest of several" : ""}${data.columns_left_out ? `; the ${data.columns.length} farthest are shown` : ""}`;
  const rows = () => [["column", "start", "distance", "verdict"], ...data.columns.flatMap((column, y) => data.cells[y].filter(Boolean).map((cell) => [column, date(cell.start), cell.distance, cell.verdict]))];
  const legend = el("div", { class: "legend heat" },
    el("span", {}, "distance 0 ", el("i", { class: "ramp" }), ` ${score(farthest(data))}`),
    el("span", {}, el("i", { color: "var(--series-2)" }), "drift"), el("span", {}, el("i", { color: "var(--warn)" }), "watch"));
  const node = figure("Columns by windows", heat(data, query), { note, wide: true, csv: rows });
  node.append(legend);
  return node;
}

const farthest = ({ cells }) => Math.max(0.05, ...cells.flat().filter(Boolean).map(({ distance }) => distance));

const heat = (data, query) => (width) => {
  const longest = Math.max(...data.columns.map((name) => name.length), 4);
  const left = Math.min(width * 0.3, 14 + 6.4 * longest);
  const top = 4, row = 20;
  const step = (width - left - 4) / data.windows.length;
  const most = farthest(data);
  const mark = svg("rect", { class: "chosen", width: Math.max(2, step - 1), height: row - 2, rx: 2, visibility: "hidden" });
  const open = (cell, column) => cell && go("drift", { ...query, model: data.model, column, start: cell.start, version: cell.version || null, role: cell.role || null });
  const at = { x: data.windows.length - 1, y: 0 };
  const drawing = canvas(width, top + row * data.columns.length + 22,
    data.columns.map((column, y) => [
      svg("text", { class: "ink", x: left - 8, y: top + y * row + 13.5, "text-anchor": "end" }, svg("title", {}, column), clipped(column, left - 12)),
      data.cells[y].map((cell, x) => heatCell(cell, column, left + x * step, top + y * row, step, row, most, data.windows[x], () => open(cell, column))),
    ]),
    heatTimes(data.windows, left, step, top + row * data.columns.length + 15, width),
    mark);
  const show = () => fill(mark, { x: left + at.x * step, y: top + at.y * row, visibility: "visible" }, []);
  if (query.column) {
    at.y = data.columns.indexOf(query.column);
    at.x = at.y < 0 ? -1 : data.cells[at.y].findIndex((cell) => cell && String(cell.start) === query.start);
    if (at.x >= 0) show();
    else [at.x, at.y] = [data.windows.length - 1, 0];
  }
  fill(drawing, { tabindex: 0, "data-keep": "heat map", onkeydown: (event) => {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (event.key === "Enter") open(data.cells[at.y][at.x], data.columns[at.y]);
    if (!move) return;
    at.x = Math.max(0, Math.min(data.windows.length - 1, at.x + move[0]));
    at.y = Math.max(0, Math.min(data.columns.length - 1, at.y + move[1]));
    show();
    const box = mark.getBoundingClientRect();
    const cell = data.cells[at.y][at.x];
    tip({ clientX: box.right, clientY: box.bottom }, ...heatWords(cell, data.columns[at.y], data.windows[at.x]));
    event.preventDefault();
  }, onfocus: show, onblur: hideTip }, []);
  return drawing;
};

function heatCell(cell, column, x, y, step, row, most, window, open) {
  const box = { x: x.toFixed(1), y, width: Math.max(1, step - 1).toFixed(1), height: row - 2, rx: step > 6 ? 2 : 0 };
  if (!cell) return svg("rect", { ...box, fill: "none", stroke: "var(--line)" });
  const strength = Math.min(1, cell.distance / most);
  const tone = { drift: "var(--series-2)", watch: "var(--warn)" }[cell.verdict];
  return svg("g", { class: "cell", "data-link": "", "data-column": column, "data-verdict": cell.verdict, onclick: open, ...tipped(...heatWords(cell, column, window)) },
    svg("rect", { ...box, fill: "var(--low)" }),
    svg("rect", { ...box, fill: tone || "var(--high)", "fill-opacity": (tone ? 0.3 + 0.7 * strength : 0.75 * strength).toFixed(3) }));
}

function heatWords(cell, column, window) {
  const lines = [el("b", {}, column), el("div", { class: "muted" }, `${hour(window.start)} to ${hour(window.end).slice(11)}, ${number(window.rows)} rows`)];
  return cell ? [...lines, el("div", {}, verdict(cell.verdict), ` · distance ${score(cell.distance)}`)] : [...lines, el("div", {}, "not counted")];
}

/* As many times below a map as have room; days alone where windows are far apart. */
function heatTimes(windows, left, step, y, width) {
  const days = windows.length > 1 && windows[windows.length - 1].start - windows[0].start > 3 * 86400;
  const room = days ? 76 : 46;
  const every = Math.max(1, Math.ceil(room / step));
  return windows.map(({ start }, x) => {
    if (x % every || left + x * step + room > width + 8) return null;
    const text = days || x === 0 ? (days ? date(start).slice(0, 10) : hour(start).slice(11)) : hour(start).slice(11);
    return svg("text", { x: left + x * step, y }, text);
  });
}

// ---- one cell ----------------------------------------------------------------------------------------

function drawCell(cell, query) {
  const close = () => go("drift", { ...query, column: null, start: null, role: null });
  const both = cell.pair;
  const legend = both ? el("div", { class: "legend" }, el("span", {}, el("i", { color: "var(--muted)" }), `reference, ${number(cell.reference_rows)} rows`), el("span", {}, el("i", { color: "var(--series-2)" }), `window, ${number(cell.window.rows)} rows`)) : null;
  const note = `${hour(cell.window.start)}${cell.window.version ? `, version ${cell.window.version}` : ""}`;
  const names = both ? both.labels : [];
  const csvRows = () => [[both.edges ? "from" : "category", "reference", "window"], ...both.before.map((value, i) => [names[i], value, both.now[i]])];
  const picture = both ? figure(cell.column, both.edges ? overlaid(both) : paired(both), { note, csv: csvRows }) : el("div", { class: "card" }, problem(cell.because || "This column is not counted by its values."));
  if (legend) picture.append(legend);
  const series = cell.series.filter(({ distance }) => !missing(distance));
  const line = figure(`Distance of ${cell.column}`, lines([{ name: "distance", x: series.map(({ time }) => time), y: series.map(({ distance }) => distance) }], { time: true, xFormat: hour, xLabel: "window", height: 220 }), { csv: () => [["start", "distance"], ...series.map(({ time, distance }) => [date(time), distance])] });
  return el("section", { class: "cell-view", "data-cell": cell.column },
    el("div", { class: "head" }, el("h2", {}, cell.column), verdict(cell.verdict), el("span", { class: "space" }), el("button", { type: "button", onclick: close }, "Close")),
    el("div", { class: "cards three" }, picture, line, cellFacts(cell)));
}

function cellFacts(cell) {
  const measures = Object.entries(cell.measures || {}).map(([name, value]) => [MEASURES[name] || name, score(value)]);
  const main = cell.findings.find(({ measure }) => measure !== "missing") || cell.findings[0];
  return el("div", { class: "card" },
    el("p", {}, cell.because || main?.because || ""),
    facts([
      ...measures,
      main && !missing(main.q) ? ["q", number(main.q)] : null,
      cell.pair && (cell.pair.missing[0] || cell.pair.missing[1]) ? ["missing", `${share(cell.pair.missing[0])} before, ${share(cell.pair.missing[1])} now`] : null,
      ...cell.slices.slice(0, 5).map((finding) => [finding.slice, `${finding.verdict}, ${finding.measure} ${score(finding.value)}`]),
    ]));
}

const MEASURES = { psi: "PSI", js: "JS distance", kl: "KL divergence", ks: "KS", wasserstein: "Wasserstein", tv: "total variation", l1: "L1", linf: "L∞", chi2: "chi-square" };

/* What was as an area, what is as a line of steps. */
const overlaid = (both) => (width) => {
  const height = 220;
  const share100 = (value) => `${Number((100 * value).toPrecision(2))} %`;
  const top = Math.max(...both.before, ...both.now);
  const frame = axes(width, height, [0, both.before.length], [0, top], { yFormat: share100, pad: 0, xFormat: () => "" });
  const steps = (values) => values.map((value, i) => `${i ? "L" : "M"}${frame.x(i).toFixed(1)},${frame.y(value).toFixed(1)}H${frame.x(i + 1).toFixed(1)}`).join("");
  const anchors = ["start", "middle", "end"];
  const wide = frame.x(1) - frame.x(0);
  return canvas(width, height, frame.nodes,
    svg("path", { class: "was", d: `${steps(both.before)}V${frame.bottom}H${frame.left}Z` }),
    svg("path", { class: "curve", stroke: color(1), d: steps(both.now) }),
    both.axis.map((text, i) => svg("text", { x: frame.left + (i / 2) * (frame.right - frame.left), y: height - 18, "text-anchor": anchors[i] }, text)),
    both.before.map((value, i) => svg("rect", { x: frame.x(i), y: frame.top, width: wide, height: frame.bottom - frame.top, fill: "transparent", ...tipped(el("div", { class: "muted" }, `${both.labels[i]} to ${both.labels[i + 1]}`), el("div", {}, `reference ${share(value)}, window ${share(both.now[i])}`)) })));
};

/* Two bars a category. */
const paired = (both) => (width) => {
  const row = 34;
  const left = Math.min(width * 0.36, 16 + 6.4 * Math.max(4, ...both.labels.map((name) => name.length)));
  const long = width - left - 60;
  const top = Math.max(1e-9, ...both.before, ...both.now);
  const bar = (value, x, y, tone) => [svg("rect", { x, y, width: Math.max(1, (long * value) / top), height: 10, rx: 3, ...tone }), svg("text", { x: x + (long * value) / top + 6, y: y + 9 }, share(value))];
  return canvas(width, row * both.labels.length + 4, both.labels.map((name, i) => svg("g", tipped(`${name}: ${share(both.before[i])} before, ${share(both.now[i])} now`),
    svg("rect", { x: 0, y: i * row, width, height: row, fill: "transparent" }),
    svg("text", { class: "ink", x: left - 8, y: i * row + 19, "text-anchor": "end" }, svg("title", {}, name), clipped(name, left - 12)),
    bar(both.before[i], left, i * row + 4, { class: "was" }), bar(both.now[i], left, i * row + 16, { fill: color(1) }))));
};

// ---- tables ------------------------------------------------------------------------------------------

function alertTable(alerts) {
  if (!alerts.length) return null;
  return table("Alerts", [
    { name: "state", value: ({ closed, acknowledged }) => (missing(closed) ? (acknowledged ? "acknowledged" : "open") : "closed"), show: (word) => el("span", {}, el("i", { class: `dot ${word === "open" ? "bad" : word === "acknowledged" ? "warn" : ""}` }), word) },
    { name: "key", title: "about" },
    { name: "opened", show: when },
    { name: "text", title: "what", wrap: true },
    alerts.some(({ acknowledged }) => acknowledged) ? { name: "acknowledged", title: "acknowledged by", show: (who) => who || "" } : null,
    alerts.some(({ because }) => because) ? { name: "because", title: "why it closed", wrap: true } : null,
  ].filter(Boolean), alerts, { key: ({ id }) => id });
}

function windowTable(data, query) {
  const open = (window) => {
    const x = data.windows.indexOf(window);
    const y = data.columns.findIndex((column, i) => data.cells[i][x] && (!window.drifted.length || window.drifted.includes(column)));
    const cell = y < 0 ? null : data.cells[y][x];
    if (cell) go("drift", { ...query, model: data.model, column: data.columns[y], start: cell.start, version: cell.version || null, role: cell.role || null });
  };
  return table("Windows", [
    { name: "start", title: "from", value: ({ start }) => start, show: hour },
    { name: "end", title: "to", show: hour },
    { name: "rows", number: true },
    { name: "verdict", show: verdict },
    { name: "drifted", title: "columns that drift", value: ({ drifted }) => drifted.join(", "), wrap: true },
    data.windows.some(({ shift }) => shift) ? { name: "shift", show: (word) => word || "" } : null,
    { name: "versions", value: ({ versions }) => versions.join(", ") },
  ].filter(Boolean), [...data.windows].reverse(), { open, key: ({ start }) => String(start) });
}
