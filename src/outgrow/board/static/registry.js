// Registry: where aliases pointed when, who moved them, on which evidence; and rolling back.

let rolledBack = null; // what was done last on this page, to say that it stands in the log

page("registry", { title: "Registry", key: "g", draw: drawRegistry, on: reloads("model.added", "model.tagged", "alias.moved", "gate.judged") });

const versionColor = (version) => color(Number(version) - 1);

function drawRegistry(root, data, query) {
  put(root, head("Registry", data.model ? el("span", { class: "muted" }, data.model) : null, el("span", { class: "space" }), data.moves.length && data.aliases.champion ? rollbackButton(data) : null));
  if (!data.model) {
    put(root, empty("No version of a model is recorded yet. Add one:", "outgrow promote late-store out/model --why \"the first one\"\noutgrow board --store late-store"));
    return;
  }
  if (data.models.length > 1) put(root, el("div", { class: "tools" }, selection("Model", data.models.map(({ name }) => name), data.model, (model) => go("registry", { model }))));
  if (rolledBack && rolledBack.model === data.model) put(root, doneCard(rolledBack));
  put(root, tiles([
    ...Object.entries(data.aliases).sort(([a], [b]) => byAlias(a, b)).map(([alias, { version, percent }]) => [el("span", {}, el("i", { class: "dot", color: versionColor(version) }), `version ${version}`), missing(percent) ? alias : `${alias}, ${percent} %`]),
    [number(data.models.find(({ name }) => name === data.model).versions), "versions"],
    [number(data.models.find(({ name }) => name === data.model).moves), "moves of aliases"],
  ]));
  const move = data.moves.find(({ position }) => String(position) === query.move);
  if (data.moves.length) put(root, timelineFigure(data, query));
  if (move) put(root, el("p", {}), moveCard(move, query));
  put(root, el("p", {}), versionTable(data), el("p", {}), moveTable(data, query));
}

// ---- the timeline ------------------------------------------------------------------------------------

function spans(moves, now) {
  const rows = new Map();
  for (const move of moves) {
    if (!rows.has(move.alias)) rows.set(move.alias, []);
    const row = rows.get(move.alias);
    const last = row[row.length - 1];
    if (last && last.end === null) last.end = Math.max(last.start, move.time);
    if (!missing(move.version)) row.push({ start: move.time, end: null, version: move.version, percent: move.percent, move });
  }
  for (const row of rows.values()) for (const one of row) one.end ??= now;
  return [...rows].sort(([a], [b]) => byAlias(a, b));
}

const USUAL_ALIASES = ["champion", "canary", "shadow"];
const byAlias = (a, b) => {
  const rank = (alias) => (USUAL_ALIASES.includes(alias) ? USUAL_ALIASES.indexOf(alias) : USUAL_ALIASES.length);
  return rank(a) - rank(b) || (a < b ? -1 : 1);
};

function timelineFigure(data, query) {
  const csvRows = () => [["time", "alias", "from", "to", "by", "why"], ...data.moves.map((move) => [date(move.time), move.alias, move.before, move.version, move.by, move.why])];
  return figure("Aliases over time", timeline(data, query), { note: "click a move for its evidence", wide: true, csv: csvRows });
}

const timeline = (data, query) => (width) => {
  const now = Date.now() / 1000;
  const rows = spans(data.moves, now);
  const left = Math.min(width * 0.28, 16 + 6.6 * Math.max(...rows.map(([alias]) => alias.length)));
  const row = 34, top = 6;
  const first = Math.min(...data.moves.map(({ time }) => time));
  const x = scale([first, Math.max(now, first + 1)], [left, width - 12], { most: Math.max(2, Math.floor(width / 130)) });
  const bottom = top + row * rows.length;
  const open = ({ position }) => () => go("registry", { ...query, model: data.model, move: position });
  return canvas(width, bottom + 24,
    timeTicks(first, now, Math.max(2, Math.floor((width - left) / 110))).map(([time, text]) => [svg("line", { class: "axis", x1: x(time), x2: x(time), y1: top, y2: bottom }), svg("text", { x: x(time), y: bottom + 15, "text-anchor": "middle" }, text)]),
    rows.map(([alias, parts], y) => [
      svg("text", { class: "ink", x: left - 10, y: top + y * row + 21, "text-anchor": "end" }, alias),
      parts.map((part) => {
        const [from, to] = [x(part.start), Math.max(x(part.start) + 3, x(part.end))];
        const label = `${part.version}${missing(part.percent) ? "" : ` · ${part.percent} %`}`;
        return svg("g", { "data-link": "", "data-move": part.move.position, onclick: open(part.move), tabindex: 0, role: "button", "aria-label": `${alias} is version ${part.version}`, onkeydown: (event) => event.key === "Enter" && open(part.move)(), ...tipped(el("b", {}, `${alias} → version ${part.version}`), el("div", { class: "muted" }, `${date(part.start)}, ${part.move.by}`), el("div", {}, part.move.why || "")) },
          svg("rect", { x: from, y: top + y * row + 6, width: to - from, height: row - 12, rx: 4, fill: versionColor(part.version), "fill-opacity": 0.24 }),
          svg("rect", { x: from, y: top + y * row + 6, width: 3, height: row - 12, rx: 1.5, fill: versionColor(part.version) }),
          to - from > 10 + 6.5 * label.length ? svg("text", { class: "ink", x: from + 9, y: top + y * row + 21 }, label) : null,
          query.move === String(part.move.position) ? svg("rect", { class: "chosen", x: from, y: top + y * row + 5, width: to - from, height: row - 10, rx: 5 }) : null);
      }),
    ]));
};

// ---- one move ----------------------------------------------------------------------------------------

const runLink = (run) => (run ? el("a", { href: link("runs", { run: run.slice(0, 12) }) }, short8(run)) : null);

function moveCard(move, query) {
  const record = move.record;
  return el("div", { class: "card", "data-evidence": move.position },
    el("div", { class: "head" }, el("h2", { class: "flush" }, missing(move.version) ? `${move.alias} was taken away` : `${move.alias} → version ${move.version}`), el("span", { class: "muted" }, date(move.time)), el("span", { class: "space" }), el("button", { type: "button", onclick: () => go("registry", { ...query, move: null }) }, "Close")),
    facts([
      ["by", move.by], ["from", missing(move.before) ? "nothing" : `version ${move.before}`], ["why", move.why || "nobody said"],
      missing(move.percent) ? null : ["share", `${move.percent} % of the requests`],
      move.run ? ["run", runLink(move.run)] : null,
      ["record", `${move.position} of the log`],
      move.evidence ? ["evidence", el("span", { class: "mono" }, move.evidence.slice(0, 24))] : ["evidence", "none was given"],
    ]),
    record ? evidence(record) : null);
}

function evidence(record) {
  const mood = { pass: "good", fail: "bad" }[record.verdict] || "warn";
  return el("div", { class: "evidence" },
    el("h3", {}, el("i", { class: `dot ${mood}` }), `${record.kind}${record.verdict ? `: ${record.verdict}` : ""}`, el("small", { class: "muted" }, ` ${date(record.time)}, ${record.by}`)),
    record.because ? el("p", {}, record.because) : null,
    record.checks ? table("Checks of the gate", [{ name: "name" }, { name: "verdict", show: (word) => el("span", { class: { pass: "good", fail: "bad" }[word] || "warn" }, word) }, { name: "because", wrap: true }], record.checks) : null);
}

// ---- tables ------------------------------------------------------------------------------------------

function versionTable(data) {
  return table("Versions", [
    { name: "version", number: true, show: (value) => el("span", {}, el("i", { class: "dot", color: versionColor(value) }), String(value)) },
    { name: "aliases", value: ({ aliases }) => [...aliases].sort(byAlias).join(", "), show: (_, { aliases }) => [...aliases].sort(byAlias).map((alias) => el("span", { class: "chip" }, alias)) },
    { name: "time", title: "added", show: (time) => (missing(time) ? NONE : when(time)) },
    { name: "by" },
    { name: "run", show: (run) => runLink(run) || "" },
    ...metricNames(data.versions).map((name) => ({ name: `metric ${name}`, title: name, number: true, value: ({ metrics }) => metrics[name], show: score })),
    { name: "tags", value: ({ tags }) => Object.entries(tags).map(([key, value]) => `${key}=${value}`).join(" ") },
    { name: "description", wrap: true, show: (text) => text || "" },
  ], [...data.versions].reverse(), { key: ({ version }) => String(version) });
}

const metricNames = (versions) => [...new Set(versions.flatMap(({ metrics }) => Object.keys(metrics || {})))].slice(0, 4);

function moveTable(data, query) {
  return table("Moves", [
    { name: "time", title: "when", show: when },
    { name: "alias" },
    { name: "before", title: "from", number: true },
    { name: "version", title: "to", number: true },
    { name: "by" },
    { name: "why", wrap: true, show: (text) => text || "" },
    { name: "evidence", value: ({ record, evidence: digest }) => (record ? `${record.kind}${record.verdict ? `: ${record.verdict}` : ""}` : digest ? digest.slice(0, 12) : "") },
  ], [...data.moves].reverse(), { open: ({ position }) => go("registry", { ...query, model: data.model, move: position }), key: ({ position }) => String(position) });
}

// ---- rolling back ------------------------------------------------------------------------------------

function rollbackButton(data) {
  const button = el("button", { type: "button", id: "rollback", disabled: !data.store, title: data.store ? "Let the champion be an earlier version again" : "Start the board with --store FOLDER to roll back here", onclick: () => rollBack(data) }, "Roll back…");
  return button;
}

async function rollBack(data) {
  const expected = data.aliases.champion.version;
  const wish = await form(`Roll back ${data.model}, which answers with version ${expected}`, [
    { label: "To version (the one before if empty)", name: "to", inputmode: "numeric", pattern: "[0-9]*" },
    { label: "Why", name: "why", required: true, maxlength: 1000 },
    { label: "Who", name: "by", required: true, maxlength: 200, value: sessionStorage.getItem("who") || "" },
  ], "Roll back");
  if (!wish) return;
  sessionStorage.setItem("who", wish.by);
  try {
    rolledBack = await act("rollback", { model: data.model, alias: "champion", to: wish.to || null, why: wish.why, by: wish.by, expected });
  } catch (error) {
    rolledBack = { model: data.model, error: error.message };
  }
  await show();
}

function doneCard(done) {
  const leave = el("button", { class: "plain", type: "button", onclick: () => ((rolledBack = null), later("draw")) }, "Close");
  if (done.error) return el("div", { class: "error", role: "alert" }, done.error, " ", leave);
  return el("div", { class: "done", role: "status" }, el("b", {}, done.before === done.version ? `${done.alias} is version ${done.version} already.` : `${done.alias} went from version ${done.before} to version ${done.version}.`), ` Recorded: record ${done.record.position}, by ${done.record.by}, `, el("span", { class: "mono" }, done.record.digest.slice(0, 12)), " ", leave);
}
