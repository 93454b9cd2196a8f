// Figures as SVG, drawn at the width they have, each to be taken along as SVG, PNG or CSV.

const SERIES = 6;
const color = (number) => `var(--series-${(number % SERIES) + 1})`;
const chosen = new Map(); // what was chosen at a figure (a logarithmic axis), by its title

/* figure("Loss", (width, options) => svg, {note, csv: () => rows, wide, logs, legend: [[name, number]], extra: [nodes]}) */
function figure(title, drawn, { note, csv: table, wide, logs, legend, extra } = {}) {
  const box = el("div", { class: "drawing" });
  const options = () => chosen.get(title) || {};
  const redraw = () => box.isConnected && box.clientWidth && box.replaceChildren(named(drawn(box.clientWidth, options()), title));
  const toggle = (event) => {
    chosen.set(title, { log: !options().log });
    event.target.setAttribute("aria-pressed", String(options().log));
    redraw();
  };
  const node = el("figure", { class: `card${wide ? " wide" : ""}`, "data-figure": title },
    el("figcaption", {}, el("h3", {}, title, note ? el("small", {}, note) : null), el("span", { class: "export" },
      extra, logs ? el("button", { class: "plain", type: "button", "aria-pressed": String(Boolean(options().log)), onclick: toggle, title: "A logarithmic axis" }, "log") : null,
      el("button", { class: "plain", type: "button", title: "Save as SVG", onclick: () => saveSvg(title, box.firstChild) }, "SVG"),
      el("button", { class: "plain", type: "button", title: "Save as PNG", onclick: () => savePng(title, box.firstChild) }, "PNG"),
      table ? el("button", { class: "plain", type: "button", title: "Save the numbers", onclick: () => download(`${fileName(title)}.csv`, csv(table()), "text/csv") }, "CSV") : null)),
    box, legend && legend.length > 1 ? el("div", { class: "legend" }, legend.map(([name, number]) => el("span", {}, el("i", { color: color(number) }), name))) : null);
  let width = 0;
  new ResizeObserver(() => {
    if (box.clientWidth && box.clientWidth !== width) (width = box.clientWidth), redraw();
  }).observe(box);
  node.redraw = redraw;
  return node;
}

function named(drawing, title) {
  drawing.setAttribute("role", "img");
  drawing.setAttribute("aria-label", title);
  return drawing;
}

const canvas = (width, height, ...children) => svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height }, ...children);

// ---- scales ------------------------------------------------------------------------------------------

function extent(values) {
  let low = Infinity, high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low <= high ? [low, high] : [0, 1];
}

/* A scale from numbers to pixels: scale(value), scale.ticks, scale.back(pixel). */
function scale([low, high], [from, to], { log = false, most = 6, pad = 0 } = {}) {
  if (log && low <= 0) log = false;
  if (low === high) [low, high] = log ? [low / 2, high * 2] : [low - (Math.abs(low) * 0.05 || 0.5), high + (Math.abs(high) * 0.05 || 0.5)];
  const at = log ? Math.log10 : (value) => value;
  const un = log ? (value) => 10 ** value : (value) => value;
  let [a, b] = [at(low), at(high)];
  [a, b] = [a - pad * (b - a), b + pad * (b - a)];
  const place = (value) => from + ((at(value) - a) / (b - a)) * (to - from);
  place.back = (pixel) => un(a + ((pixel - from) / (to - from)) * (b - a));
  place.ticks = log ? logTicks(a, b, most) : niceTicks(a, b, most);
  return place;
}

function niceTicks(low, high, most) {
  const rough = (high - low) / Math.max(1, most);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((times) => times * power >= rough) * power;
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9 && ticks.length < 50; i++) ticks.push(Number((i * step).toPrecision(12)));
  return ticks;
}

function logTicks(low, high, most) {
  const every = Math.max(1, Math.ceil((high - low) / most));
  const ticks = [];
  for (let i = Math.ceil(low); i <= high; i += every) ticks.push(10 ** i);
  return ticks.length > 1 ? ticks : niceTicks(10 ** low, 10 ** high, most);
}

/* Round times between two, and how they are written: [[seconds, text]]. */
function timeTicks(low, high, most) {
  const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 2592000, 7776000, 31536000];
  const step = steps.find((seconds) => (high - low) / seconds <= most) || steps[steps.length - 1];
  const ticks = [];
  for (let at = Math.ceil(low / step) * step; at <= high; at += step) ticks.push([at, step >= 86400 ? date(at).slice(0, 10) : high - low > 86400 ? date(at).slice(5, 16) : step >= 60 ? date(at).slice(11, 16) : date(at).slice(11, 19)]);
  return ticks;
}

const short = (value) => {
  const size = Math.abs(value);
  if (size >= 1e9 || (size > 0 && size < 1e-3)) return value.toExponential(Math.abs(value) >= 1e9 ? 1 : 0).replace("e+", "e");
  if (size >= 1e6) return `${Number((value / 1e6).toPrecision(3))}M`;
  if (size >= 1e4) return `${Number((value / 1e3).toPrecision(3))}k`;
  return String(Number(value.toPrecision(4)));
};

// ---- axes --------------------------------------------------------------------------------------------

/* The frame of a figure with two axes: {x, y, nodes, box}. */
function axes(width, height, xs, ys, { xLabel, yLabel, log, time, xFormat = short, yFormat = short, pad = 0.04, xPad = 0 } = {}) {
  if (time && xs[0] === xs[1]) xs = [xs[0] - 30, xs[0] + 30];
  const y = scale(ys, [height - 34, 10], { log, most: 5, pad });
  const left = 14 + 6.4 * Math.max(...y.ticks.map((tick) => yFormat(tick).length), 2);
  const x = scale(xs, [left, width - 10], { most: Math.max(2, Math.floor(width / 90)), pad: xPad });
  const nodes = [
    y.ticks.map((tick) => [svg("line", { class: "axis", x1: left, x2: width - 10, y1: y(tick), y2: y(tick) }), svg("text", { x: left - 6, y: y(tick) + 3.5, "text-anchor": "end" }, yFormat(tick))]),
    (time ? timeTicks(xs[0], xs[1], Math.max(1, Math.floor((width - left) / 90))) : x.ticks.map((tick) => [tick, xFormat(tick)])).map(([tick, text]) => svg("text", { x: x(tick), y: height - 19, "text-anchor": "middle" }, text)),
    xLabel ? svg("text", { x: (left + width - 10) / 2, y: height - 4, "text-anchor": "middle" }, xLabel) : null,
    yLabel ? svg("text", { x: left, y: 6, "text-anchor": "start" }, yLabel) : null,
  ];
  return { x, y, nodes, left, right: width - 10, top: 10, bottom: height - 34 };
}

// ---- lines -------------------------------------------------------------------------------------------

/* lines([{name, x, y, color}], {height, xLabel, xFormat, yFormat, zoom(low, high)}) for figure(). */
const lines = (series, options = {}) => (width, { log } = {}) => {
  const height = options.height || 220;
  const full = series.filter((one) => one.x.length);
  const xs = extent(full.flatMap((one) => [one.x[0], one.x[one.x.length - 1]]));
  const ys = extent(full.flatMap((one) => extent(one.y)));
  const frame = axes(width, height, xs, ys, { log, ...options });
  const drawing = canvas(width, height, frame.nodes, full.map((one, i) => path(one, frame, one.color ?? i)));
  if (full.length) crossed(drawing, full, frame, options);
  return drawing;
};

function path(one, { x, y }, number) {
  const points = one.x.map((value, i) => `${x(value).toFixed(1)},${y(one.y[i]).toFixed(1)}`);
  if (points.length === 1) {
    const [cx, cy] = points[0].split(",");
    return svg("circle", { cx, cy, r: 3, fill: color(number) });
  }
  return svg("path", { class: "curve", stroke: color(number), "stroke-dasharray": one.dash || null, d: `M${points.join("L")}` });
}

/* The values under the pointer, and a part of the axis to look at by dragging. */
function crossed(drawing, series, frame, { xFormat = number, yFormat = score, xLabel = "step", zoom }) {
  const line = svg("line", { class: "cross", y1: frame.top, y2: frame.bottom, visibility: "hidden" });
  const band = svg("rect", { class: "band", y: frame.top, height: frame.bottom - frame.top, width: 0 });
  const area = svg("rect", { x: frame.left, y: 0, width: Math.max(0, frame.right - frame.left), height: frame.bottom, fill: "transparent" });
  let start = null;
  const pixel = (event) => {
    const box = drawing.getBoundingClientRect();
    return Math.max(frame.left, Math.min(frame.right, ((event.clientX - box.left) / box.width) * drawing.viewBox.baseVal.width));
  };
  area.addEventListener("pointermove", (event) => {
    const at = frame.x.back(pixel(event));
    const rows = series.map((one, i) => [one, nearest(one.x, at), one.color ?? i]);
    const place = frame.x(rows[0][0].x[rows[0][1]]);
    fill(line, { x1: place, x2: place, visibility: "visible" }, []);
    if (start !== null) fill(band, { x: Math.min(start, pixel(event)), width: Math.abs(pixel(event) - start) }, []);
    tip(event, el("div", { class: "muted" }, `${xLabel} ${xFormat(rows[0][0].x[rows[0][1]])}`), el("table", {}, el("tbody", {}, rows.map(([one, k, n]) => el("tr", {}, el("td", {}, el("i", { color: color(n) }), one.name), el("td", {}, yFormat(one.y[k])))))));
  });
  area.addEventListener("pointerleave", () => (line.setAttribute("visibility", "hidden"), hideTip()));
  if (zoom) {
    area.addEventListener("pointerdown", (event) => event.pointerType === "mouse" && ((start = pixel(event)), area.setPointerCapture(event.pointerId)));
    area.addEventListener("pointerup", (event) => {
      const end = pixel(event);
      if (start !== null && Math.abs(end - start) > 6) zoom(...[frame.x.back(start), frame.x.back(end)].sort((a, b) => a - b));
      start = null;
      band.setAttribute("width", 0);
    });
    area.addEventListener("dblclick", () => zoom(null, null));
  }
  drawing.append(band, line, area);
}

function nearest(xs, value) {
  let low = 0, high = xs.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (xs[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low > 0 && value - xs[low - 1] < xs[low] - value ? low - 1 : low;
}

// ---- bars and points ---------------------------------------------------------------------------------

/* bars([{name, value, text, color}]): one bar a row, the name before it. */
const bars = (items, { format = number, most } = {}) => (width) => {
  const row = 24;
  const left = Math.min(width * 0.42, 16 + 6.2 * Math.max(4, ...items.map(({ name }) => name.length)));
  const highest = most ?? Math.max(1e-12, ...items.map(({ value }) => value || 0));
  const long = Math.max(20, width - left - 14 - 6 * Math.max(4, ...items.map((item) => (item.text ?? format(item.value)).length)));
  return canvas(width, row * items.length + 4, items.map((item, i) => svg("g", tipped(`${item.name}: ${item.text ?? format(item.value)}`),
    svg("rect", { x: 0, y: i * row, width, height: row, fill: "transparent" }),
    svg("text", { class: "ink", x: left - 8, y: i * row + 16, "text-anchor": "end" }, clipped(item.name, left - 12)),
    svg("rect", { x: left, y: i * row + 5, width: Math.max(1, (long * (item.value || 0)) / highest), height: row - 10, rx: 3, fill: color(item.color ?? 0) }),
    svg("text", { x: left + (long * (item.value || 0)) / highest + 6, y: i * row + 16 }, item.text ?? format(item.value)))));
};

const clipped = (text, pixels) => (text.length * 6.2 > pixels ? `${text.slice(0, Math.max(1, Math.floor(pixels / 6.2) - 1))}…` : text);

/* points([{x, y, name, open(), color, strong}], {best: [{x, y}], xLabel, yLabel}) for figure(). */
const points = (items, options = {}) => (width, { log } = {}) => {
  const height = options.height || 240;
  const frame = axes(width, height, extent(items.map((item) => item.x)), extent(items.map((item) => item.y)), { log, xPad: 0.03, ...options });
  const steps = (options.best || []).map(({ x, y }, i, all) => `${i ? `H${frame.x(x).toFixed(1)}V` : `M${frame.x(x).toFixed(1)},`}${frame.y(y).toFixed(1)}${i === all.length - 1 ? `H${frame.right}` : ""}`);
  return canvas(width, height, frame.nodes,
    steps.length ? svg("path", { class: "curve", stroke: color(1), d: steps.join("") }) : null,
    items.map((item) => svg("circle", { cx: frame.x(item.x).toFixed(1), cy: frame.y(item.y).toFixed(1), r: item.strong ? 5 : 3.6, fill: color(item.color ?? 0), "fill-opacity": item.strong ? 1 : 0.62, onclick: item.open, "data-link": item.open ? "" : null, ...tipped(item.name) })));
};

// ---- parallel coordinates ----------------------------------------------------------------------------

/* parallel([{name, log}], [{values: [...], name, open()}], {better: "low" | "high"}): a line a row; the last axis ranks. */
const parallel = (dimensions, rows, { better = "low" } = {}) => (width) => {
  const height = 300, top = 34, bottom = height - 26;
  const wide = Math.max(width, dimensions.length * 92);
  const place = (i) => (dimensions.length === 1 ? wide / 2 : 46 + (i * (wide - 92)) / (dimensions.length - 1));
  const scales = dimensions.map((one, i) => heights(rows.map((row) => row.values[i]), one.log, top, bottom));
  const last = dimensions.length - 1;
  const order = rows.map((row, i) => i).filter((i) => !missing(rows[i].values[last])).sort((a, b) => (better === "low" ? 1 : -1) * (rows[b].values[last] - rows[a].values[last]));
  const drawing = canvas(wide, height,
    order.map((i, rank) => line(rows[i], rank, order.length)),
    dimensions.map((one, i) => [svg("line", { class: "axis", x1: place(i), x2: place(i), y1: top, y2: bottom }),
      svg("text", { class: "ink", x: place(i), y: 13, "text-anchor": i === 0 ? "start" : i === last ? "end" : "middle", dx: i === 0 ? -40 : i === last ? 40 : 0 }, svg("title", {}, one.name), clipped(one.name, (wide - 92) / Math.max(1, last) + (i === 0 || i === last ? 30 : -8))),
      rows.some((row) => missing(row.values[i]) || row.values[i] === "") ? svg("text", { x: place(i) + 5, y: bottom + 22 }, "not set") : null,
      scales[i].marks.map(([at, text]) => svg("text", { x: place(i) + (i === last ? 5 : 5), y: at + 3.5 }, clipped(text, i === last ? 44 : 90)))]));
  return drawing;

  function line(row, rank, count) {
    const best = rank === count - 1;
    const strength = (rank + 1) / count;
    const at = dimensions.map((one, i) => `${place(i).toFixed(1)},${scales[i].at(row.values[i]).toFixed(1)}`);
    return svg("path", { class: "curve", d: `M${at.join("L")}`, stroke: color(best ? 1 : 0), "stroke-opacity": best ? 1 : 0.1 + 0.5 * strength ** 2, "stroke-width": best ? 2.4 : 1.2, onclick: row.open, "data-link": row.open ? "" : null, ...tipped(row.name) });
  }
};

/* Where values lie on an axis: numbers by size, words in their order; what is missing lies below. */
function heights(values, log, top, bottom) {
  const there = values.filter((value) => !missing(value) && value !== "");
  const numeric = there.length > 0 && there.every((value) => isFinite(Number(value)) && typeof value !== "boolean");
  if (!numeric) {
    const words = [...new Set(there.map(String))].sort();
    const at = (value) => (missing(value) ? bottom + 18 : bottom - (words.length < 2 ? 0.5 : words.indexOf(String(value)) / (words.length - 1)) * (bottom - top));
    const every = Math.ceil(words.length / 12);
    return { at, marks: words.filter((_, i) => i % every === 0).map((word) => [at(word), word]) };
  }
  const range = extent(there.map(Number));
  const one = scale(range, [bottom, top], { log: log ?? (range[0] > 0 && range[1] / range[0] > 50) });
  const at = (value) => (missing(value) || value === "" ? bottom + 18 : one(Number(value)));
  return { at, marks: range[0] === range[1] ? [[one(range[0]), short(range[0])]] : [[bottom, short(range[0])], [top, short(range[1])]] };
}

// ---- export ------------------------------------------------------------------------------------------

const STYLES = ["fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-opacity", "fill-opacity", "opacity", "font-family", "font-size", "font-weight", "text-anchor", "visibility"];

/* A drawing by itself: what the styles of the page say is written into it. */
function alone(drawing) {
  const copy = drawing.cloneNode(true);
  const [from, to] = [drawing, copy].map((root) => [root, ...root.querySelectorAll("*")]);
  from.forEach((node, i) => {
    const style = getComputedStyle(node);
    for (const name of STYLES) to[i].setAttribute(name, style.getPropertyValue(name));
    to[i].removeAttribute("class");
  });
  const { width, height } = drawing.viewBox.baseVal;
  copy.insertBefore(svg("rect", { width, height, fill: getComputedStyle(document.documentElement).getPropertyValue("--card") }), copy.firstChild);
  copy.setAttribute("xmlns", SVG);
  return new XMLSerializer().serializeToString(copy);
}

const saveSvg = (title, drawing) => download(`${fileName(title)}.svg`, alone(drawing), "image/svg+xml");

function savePng(title, drawing) {
  const { width, height } = drawing.viewBox.baseVal;
  const source = URL.createObjectURL(new Blob([alone(drawing)], { type: "image/svg+xml" }));
  const image = new Image();
  image.onload = () => {
    const sheet = el("canvas", { width: 2 * width, height: 2 * height });
    sheet.getContext("2d").drawImage(image, 0, 0, 2 * width, 2 * height);
    sheet.toBlob((blob) => download(`${fileName(title)}.png`, blob));
    URL.revokeObjectURL(source);
  };
  image.src = source;
}
