// Pages register themselves with page(); the address after # says which is shown, and with what.
// Text of users only ever becomes a text node: el() and svg() take strings as children, nobody takes HTML.

const PAGES = new Map();
const ORDER = ["runs", "search", "registry", "drift", "quality", "serving", "cluster", "lineage", "plan"];
const live = { position: null, source: null, current: null, data: null, query: {}, name: null, redraw: 0, load: 0, recent: [] };

/* page("drift", {title: "Drift", key: "d", load(query), draw(root, data, query), on(records, data)})
   load: a promise of the data (default: the JSON of /api/NAME with the query).
   draw: fills root. on: takes new records of the log; returns "draw", "load" or nothing. */
function page(name, what) {
  PAGES.set(name, { name, load: (query) => api(name, query), on: () => null, ...what });
}

// ---- elements ---------------------------------------------------------------------------------------

const SVG = "http://www.w3.org/2000/svg";

/* Append what there is: null stands for nothing. */
function put(node, ...children) {
  node.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "class") node.setAttribute("class", value);
    else if (name === "color") node.style.background = value;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

const el = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

// ---- numbers and times as people read them -----------------------------------------------------------

const NONE = "–";
const missing = (value) => value === null || value === undefined || (typeof value === "number" && !isFinite(value));

function number(value) {
  if (missing(value)) return NONE;
  if (typeof value !== "number") return String(value);
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e9) return value.toLocaleString("en-US");
  if (size !== 0 && (size < 1e-4 || size >= 1e9)) return value.toExponential(2);
  return value.toLocaleString("en-US", { maximumSignificantDigits: 4 });
}

function score(value) {
  if (missing(value)) return NONE;
  return Math.abs(value) < 100 && !Number.isInteger(value) && Math.abs(value) >= 1e-3 ? value.toFixed(4) : number(value);
}

function span(seconds) {
  if (missing(seconds)) return NONE;
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
}

const shortSpan = (seconds) => (seconds === 0 ? "0" : span(seconds).replace(/\.0 s$/, " s").replace(/ 0 (s|min)$/, ""));

function bytes(value) {
  if (missing(value)) return NONE;
  const power = value < 1024 ? 0 : Math.min(5, Math.floor(Math.log(value) / Math.log(1024)));
  return `${(value / 1024 ** power).toFixed(power ? 1 : 0)} ${["B", "KiB", "MiB", "GiB", "TiB", "PiB"][power]}`;
}

const share = (value) => (missing(value) ? NONE : `${(100 * value).toFixed(1)} %`);

function ago(time) {
  const seconds = Math.max(0, Date.now() / 1000 - time);
  if (seconds < 60) return "just now";
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  if (seconds < 30 * 86400) return `${Math.floor(seconds / 86400)} d ago`;
  return date(time).slice(0, 10);
}

const date = (time) => (missing(time) ? NONE : new Date(time * 1000).toISOString().slice(0, 19).replace("T", " ") + " UTC");
const when = (time) => el("time", { title: date(time), datetime: new Date(time * 1000).toISOString() }, ago(time));
const plain = (value) =>
  missing(value) ? NONE : typeof value === "object" ? JSON.stringify(value) : typeof value === "number" ? number(value) : String(value);

const STATES = { running: "busy", finished: "good", failed: "bad", killed: "warn", lost: "warn" };
const state = (word) => el("span", {}, el("i", { class: `dot ${STATES[word] || ""}` }), word);

// ---- the parts of pages ------------------------------------------------------------------------------

const head = (title, ...beside) => el("div", { class: "head" }, el("h1", {}, title), ...beside);
const tiles = (pairs) =>
  el("div", { class: "tiles" }, pairs.filter(Boolean).map(([value, word]) => el("div", { class: "tile" }, el("b", { title: typeof value === "string" ? value : null }, value), el("span", {}, word))));
const facts = (pairs) =>
  el("dl", { class: "facts" }, pairs.filter(Boolean).map(([name, value]) => [el("dt", {}, name), el("dd", {}, value instanceof Node ? value : plain(value))]));
const empty = (text, command) => el("div", { class: "empty" }, el("p", {}, text), command ? el("pre", {}, command) : null);
const problem = (text) => el("div", { class: "error", role: "alert" }, text);

// ---- addresses ---------------------------------------------------------------------------------------

function link(name, query) {
  const words = new URLSearchParams(Object.entries(query || {}).filter(([, value]) => value !== null && value !== undefined && value !== ""));
  return `#${name}${[...words].length ? `?${words}` : ""}`;
}

function go(name, query, { replace } = {}) {
  const address = link(name, query);
  if (replace) history.replaceState(null, "", address);
  else if (address !== location.hash) history.pushState(null, "", address);
  show();
}

function address() {
  const [name, words] = location.hash.slice(1).split(/\?(.*)/s);
  return { name: PAGES.has(name) ? name : "runs", query: Object.fromEntries(new URLSearchParams(words || "")) };
}

async function api(name, query, options) {
  const words = new URLSearchParams(Object.entries(query || {}).filter(([, value]) => value !== null && value !== undefined && value !== ""));
  const response = await fetch(`api/${name}?${words}`, options);
  const body = await response.json().catch(() => ({ error: `The board answered ${response.status}.` }));
  if (!response.ok) throw Object.assign(new Error(body.error || `The board answered ${response.status}.`), { status: response.status });
  return body;
}

/* Does something for which the token is needed; asks for it once a tab. */
async function act(name, body) {
  for (;;) {
    const token = sessionStorage.getItem("token") || (await asked("The token of this board", "password"));
    if (!token) throw new Error("Nothing was done: no token was given.");
    try {
      const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
      const done = await api(name, {}, { method: "POST", headers, body: JSON.stringify(body) });
      sessionStorage.setItem("token", token);
      return done;
    } catch (error) {
      sessionStorage.removeItem("token");
      if (error.status !== 401) throw error;
    }
  }
}

/* Shows a dialog with fields; a promise of their values by name, null if it was left. */
function form(title, fields, word = "Go on") {
  return new Promise((answer) => {
    const inputs = fields.map(({ label, ...attributes }) => el("label", { class: "field" }, el("span", {}, label), el("input", { type: "text", autocomplete: "off", ...attributes })));
    const box = el("dialog", { onclose: () => (box.remove(), answer(box.returnValue ? JSON.parse(box.returnValue) : null)) });
    const send = (event) => (event.preventDefault(), box.close(JSON.stringify(Object.fromEntries(new FormData(event.target)))));
    box.append(el("h2", {}, title), el("form", { onsubmit: send }, inputs, el("div", { class: "tools" }, el("button", { class: "main", type: "submit" }, word), el("button", { type: "button", onclick: () => box.close("") }, "Leave it"))));
    document.body.append(box);
    box.showModal();
  });
}

async function asked(label, type = "text") {
  const values = await form(label, [{ label, type, name: "value", required: true }]);
  return values && values.value;
}

// ---- what is shown -----------------------------------------------------------------------------------

async function show() {
  const { name, query } = address();
  const turn = ++live.load, current = PAGES.get(name);
  if (live.name !== name) window.scrollTo(0, 0);
  for (const anchor of document.querySelectorAll("#pages a")) {
    if (anchor.dataset.page === name) anchor.setAttribute("aria-current", "page");
    else anchor.removeAttribute("aria-current");
  }
  document.title = `${current.title} · outgrow`;
  const content = document.getElementById("content");
  const slow = setTimeout(() => content.setAttribute("aria-busy", "true"), 200);
  try {
    const data = await current.load(query);
    if (turn !== live.load) return;
    Object.assign(live, { name, query, current, data }); // together: records that come meanwhile are for what is shown
    if (live.position === null) listen(data && data.position);
    const missed = data ? live.recent.filter((record) => record.position > data.position) : []; // that came while it loaded
    const next = missed.length ? current.on(missed, data, query) : null;
    draw();
    if (next === "load") later(next);
  } catch (error) {
    if (turn !== live.load) return;
    Object.assign(live, { name, query, current, data: null });
    document.getElementById("content").replaceChildren(head(current.title), problem(error.message), el("p", {}, el("a", { href: link(name) }, "Without the filter or name")));
    if (live.position === null) listen(null);
  } finally {
    clearTimeout(slow);
    if (turn === live.load) content.removeAttribute("aria-busy");
  }
}

const MOST_RECENT = 1000; // records that are kept for a page that is being loaded

/* Draws the page anew, and leaves focus, typed text and scrolled tables as they are. */
function draw() {
  const content = document.getElementById("content");
  const active = document.activeElement;
  const kept = active && content.contains(active) && active.dataset.keep ? [active.dataset.keep, active.value, active.selectionStart] : null;
  const scrolled = [...content.querySelectorAll(".scroll")].map((box) => box.scrollLeft);
  const root = document.createDocumentFragment();
  live.current.draw(root, live.data, live.query);
  content.replaceChildren(root);
  content.dataset.page = live.name;
  content.querySelectorAll(".scroll").forEach((box, i) => (box.scrollLeft = scrolled[i] || 0));
  hideTip();
  if (kept) {
    const again = content.querySelector(`[data-keep="${CSS.escape(kept[0])}"]`);
    if (again) {
      if ("value" in again && typeof kept[1] === "string" && again.tagName === "INPUT") again.value = kept[1];
      again.focus({ preventScroll: true });
      if (kept[2] !== undefined && kept[2] !== null && again.setSelectionRange) again.setSelectionRange(kept[2], kept[2]);
    }
  }
  performance.mark(`drawn ${live.name}`);
}

const soon = { draw: 0, load: 0, loaded: 0 };

/* Draws in the next frame; loads at most once a second. */
function later(what) {
  if (what === "draw" && !soon.draw) {
    soon.draw = requestAnimationFrame(() => ((soon.draw = 0), live.data && draw()));
  } else if (what === "load" && !soon.load) {
    const pause = Math.max(50, soon.loaded + 1000 - performance.now());
    soon.load = setTimeout(() => ((soon.load = 0), (soon.loaded = performance.now()), show()), pause);
  }
}

/* For pages: load again when records of these kinds come. */
const reloads = (...kinds) => (records) => (records.some((record) => kinds.includes(record.kind)) ? "load" : null);

// ---- events ------------------------------------------------------------------------------------------

function listen(position) {
  live.position = position ?? 0;
  const source = new EventSource(position === null || position === undefined ? "api/events" : `api/events?since=${position}`);
  source.addEventListener("records", (event) => take(JSON.parse(event.data), Number(event.lastEventId)));
  source.addEventListener("reset", (event) => ((live.position = Number(event.lastEventId)), later("load")));
  source.addEventListener("state", (event) => status(JSON.parse(event.data).trouble));
  source.onopen = () => status(null);
  source.onerror = () => {
    status("The board is away");
    if (source.readyState === EventSource.CLOSED) setTimeout(() => listen(live.position), 2000);
  };
  live.source = source;
}

function take(records, position) {
  live.position = position;
  live.recent = [...live.recent, ...records].slice(-MOST_RECENT);
  status(null);
  if (live.data) later(live.current.on(records, live.data, live.query));
}

function status(trouble) {
  const box = document.getElementById("live");
  box.dataset.state = trouble ? "away" : "live";
  box.title = trouble || "New records appear by themselves";
  box.lastElementChild.textContent = trouble ? "away" : "live";
}

// ---- theme, keys, tips -------------------------------------------------------------------------------

function theme(name) {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = name || localStorage.getItem("theme") || (dark ? "dark" : "light");
}

function toggleTheme() {
  const name = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  localStorage.setItem("theme", name);
  theme(name);
  if (live.data) draw();
}

function showKeys() {
  const box = document.getElementById("keys");
  const pages = [...document.querySelectorAll("#pages a")].map((a) => [el("kbd", {}, a.dataset.key), a.firstChild.textContent]);
  const others = [["/", "To the filter"], ["j k", "Down and up in a table"], ["Enter", "Open the row"], ["x", "Choose the row"], ["t", "Light or dark"], ["Esc", "Back"], ["?", "This list"]];
  box.replaceChildren(el("h2", {}, "Keys"), facts([...pages, ...others.map(([key, text]) => [el("kbd", {}, key), text])]), el("p", {}), el("button", { type: "button", onclick: () => box.close() }, "Close"));
  box.showModal();
}

function keyed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.target.matches("input, select, textarea")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const anchor = [...document.querySelectorAll("#pages a")].find((a) => a.dataset.key === event.key);
  const row = document.activeElement.closest("tbody tr");
  const rows = [...document.querySelectorAll("#content tbody tr[tabindex]")];
  if (anchor) go(anchor.dataset.page);
  else if (event.key === "/") document.querySelector("#content input[type=search]")?.focus();
  else if (event.key === "j" || event.key === "k") rows[Math.max(0, Math.min(rows.length - 1, rows.indexOf(row) + (event.key === "j" ? 1 : -1)))]?.focus();
  else if (event.key === "x") row?.querySelector("input[type=checkbox]")?.click();
  else if (event.key === "t") toggleTheme();
  else if (event.key === "?") showKeys();
  else if (event.key === "Escape") history.back();
  else return;
  event.preventDefault();
}

function tip(event, ...children) {
  const box = document.getElementById("tip");
  box.replaceChildren(...children);
  box.hidden = false;
  const { clientX: x, clientY: y } = event;
  const { width, height } = box.getBoundingClientRect();
  box.style.left = `${Math.max(4, x + 14 + width > innerWidth ? x - width - 14 : x + 14)}px`;
  box.style.top = `${Math.max(4, y + 14 + height > innerHeight ? y - height - 14 : y + 14)}px`;
}

const hideTip = () => (document.getElementById("tip").hidden = true);
const tipped = (...children) => ({ onpointermove: (event) => tip(event, ...children.map((child) => child.cloneNode?.(true) ?? child)), onpointerleave: hideTip });

// ---- export ------------------------------------------------------------------------------------------

function download(name, text, type) {
  const blob = text instanceof Blob ? text : new Blob([text], { type });
  const anchor = el("a", { href: URL.createObjectURL(blob), download: name });
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(anchor.href), 10000);
}

function csv(rows) {
  const cell = (value) => {
    const text = missing(value) ? "" : typeof value === "object" ? JSON.stringify(value) : String(value);
    const safe = typeof value === "string" && /^[=+\-@\t\r]/.test(text) && isNaN(Number(text)) ? `'${text}` : text;
    return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  return rows.map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

const fileName = (title) => `outgrow-${title.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "") || "figure"}`;

// ---- begin -------------------------------------------------------------------------------------------

function begin() {
  theme();
  const known = [...ORDER.filter((name) => PAGES.has(name)), ...[...PAGES.keys()].filter((name) => !ORDER.includes(name))];
  for (const name of known) {
    const { title, key, hidden } = PAGES.get(name);
    if (!hidden) document.getElementById("pages").append(el("a", { href: `#${name}`, "data-page": name, "data-key": key, title: `${title} (${key})` }, el("span", {}, title), el("kbd", {}, key)));
  }
  document.getElementById("theme").onclick = toggleTheme;
  document.getElementById("help").onclick = showKeys;
  document.querySelector(".skip").onclick = (event) => (event.preventDefault(), document.getElementById("content").focus());
  addEventListener("hashchange", show);
  addEventListener("keydown", keyed);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => (theme(), later("draw")));
  show();
}
