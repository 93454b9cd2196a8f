// One run, as far as it is: curves grow while it goes on.

function drawRun(root, run, query) {
  const ending = run.ending || {};
  put(root, head(run.name, el("span", { class: "mono muted" }, short12(run.run)), state(run.state), el("span", { class: "space" }), el("a", { href: link("lineage", { of: run.run }), hidden: !PAGES.has("lineage") }, "Lineage"), el("a", { href: "#runs" }, "All runs")));
  if (ending.error) put(root, problem(`${ending.error.type}: ${ending.error.message || ""}`));
  if (run.description) put(root, el("p", { class: "lead" }, run.description));
  put(root, tiles([
    [run.state === "running" ? span(Date.now() / 1000 - run.began) : span(ending.seconds), run.state === "running" ? "so far" : "time"],
    missing(ending.memory) ? null : [bytes(ending.memory), "most memory"],
    missing(ending.rows ?? run.data[0]?.rows) ? null : [number(ending.rows ?? run.data[0]?.rows), "rows"],
    ...Object.entries(run.state === "running" ? lastOf(run.curves) : run.metrics).slice(0, 4).map(([name, value]) => [score(value), name]),
  ]));
  const figures = [...curveFigures([run], query), ...usageFigures(run)];
  if (run.curves.length) put(root, curveTools(query, run.curves.length), el("div", { class: "cards" }, figures));
  else if (figures.length) put(root, el("div", { class: "cards" }, figures));
  put(root, el("div", { class: "cards" }, runTables(run)));
}

const MOST_FIGURES = 24;

/* The last value of each curve. */
const lastOf = (curves) => Object.fromEntries(curves.map(({ metric, metrics }) => [metric, metrics.last]));

/* Step or time below the curves, and all of the axis again. */
function curveTools(query, count) {
  const by = (word) => el("button", { type: "button", "aria-pressed": String((query.by || "step") === word), onclick: () => go("runs", { ...query, by: word === "step" ? null : word, low: null, high: null }, { replace: true }) }, `By ${word}`);
  return el("div", { class: "tools" }, by("step"), by("time"), count > MOST_FIGURES || query.curve ? el("input", { type: "search", "data-keep": "curve", value: query.curve || "", placeholder: `the first ${MOST_FIGURES} of ${count} curves; part of a name`, "aria-label": "Curves", onchange: (event) => go("runs", { ...query, curve: event.target.value.trim() }, { replace: true }) }) : null, query.low ? el("button", { type: "button", onclick: () => go("runs", { ...query, low: null, high: null }, { replace: true }) }, "Whole axis") : null);
}

/* A figure for each metric that has a curve, a line for each run and stage of it. */
function curveFigures(runs, query) {
  const several = runs.length > 1;
  const byTime = query.by === "time";
  const groups = new Map();
  runs.forEach((run, number) => run.curves.forEach((curve, i) => {
    if (query.curve && !`${curve.metric} ${curve.stage}`.includes(query.curve)) return;
    if (!curve.x.length || (curve.points < 2 && run.state !== "running")) return;
    const key = several || run.curves.length > 12 ? curve.metric : `${curve.metric} ${curve.stage}`;
    const stages = run.curves.filter((other) => other.metric === curve.metric).length;
    const list = groups.get(key) || groups.set(key, { metric: curve.metric, stage: curve.stage, unit: curve.unit, lines: [] }).get(key);
    list.lines.push({ name: several ? `${run.name} ${short8(run.run)}${stages > 1 ? ` ${curve.stage}` : ""}` : groups.size && run.curves.length > 12 ? curve.stage : curve.metric, x: byTime ? curve.x.map((time) => time - run.began) : curve.x, y: curve.y, color: several ? number : list.lines.length });
  }));
  return [...groups.values()].slice(0, MOST_FIGURES).map(({ metric, stage, unit, lines: all }) => figure(metric, lines(all, {
    xLabel: byTime ? "time" : unit, xFormat: byTime ? shortSpan : short, zoom: several || byTime ? null : (low, high) => go("runs", { ...query, low, high }, { replace: true }),
  }), { note: several ? null : stage, logs: true, legend: all.map((one) => [one.name, one.color]), csv: () => [["line", byTime ? "seconds" : "step", metric], ...all.flatMap((one) => one.x.map((x, i) => [one.name, x, one.y[i]]))] }));
}

function usageFigures(run) {
  const of = (name, title, format, times = 1) => {
    const there = run.samples.filter((sample) => !missing(sample[name]));
    if (there.length < 2) return null;
    const one = { name: title, x: there.map(({ time }) => time - run.began), y: there.map((sample) => sample[name] * times) };
    return figure(title, lines([one], { xLabel: "time", xFormat: shortSpan, yFormat: format }), { csv: () => [["seconds", name], ...one.x.map((x, i) => [x, one.y[i]])] });
  };
  return [of("cpu", "Busy processors", short), of("resident_bytes", "Memory", bytes)].filter(Boolean);
}

function runTables(run) {
  const pairs = (title, values, show = plain) => (Object.keys(values || {}).length ? el("section", { class: "card" }, el("h3", {}, title), el("p", {}), facts(Object.entries(values).map(([name, value]) => [name, show(value)]))) : null);
  const { libraries, ...environment } = run.environment || {};
  const began = { began: date(run.began), by: run.by, kind: run.kind, engine: run.engine?.about, cause: run.cause, record: run.record, ...Object.fromEntries(Object.entries(run.tags).map(([name, value]) => [`tag ${name}`, value])) };
  return [
    pairs("Parameters", run.parameters),
    pairs("Metrics", run.metrics, score),
    ...run.data.map((data) => pairs(`Rows: ${data.role || "data"}`, { from: data.uri || data.kind, version: data.version, rows: data.rows, columns: data.columns, fingerprint: data.fingerprint })),
    pairs("Run", Object.fromEntries(Object.entries(began).filter(([, value]) => !missing(value)))),
    pairs("Code", run.code),
    pairs("Environment", environment),
    pairs("Libraries", libraries),
    run.stages.length ? table("Stages", [{ name: "stage", wrap: true }, { name: "step", number: true }, { name: "rows", number: true }, { name: "seconds", title: "time", number: true, show: span }, { name: "slowest" }], run.stages) : null,
    run.ending.artifacts ? table("Files", [{ name: "file" }, { name: "bytes", number: true, show: bytes }], fileRows(run.ending.artifacts)) : null,
  ].filter(Boolean);
}

function fileRows(artifacts) {
  const files = artifacts.files || {};
  return (Array.isArray(files) ? files : Object.entries(files).map(([file, about]) => ({ file, ...(typeof about === "object" ? about : { digest: about }) }))).map((one) => ({ ...one, file: one.file ?? one.name ?? one.path }));
}

/* Points of curves as they come; whatever else changes is loaded. */
function followRuns(records, data, query) {
  const shown = new Map((data.runs || [data]).map((run) => [run.run, run]));
  let change = null;
  for (const record of records) {
    const run = shown.get(record.subject);
    if (!run) continue;
    if (record.kind === "run.sampled" && run.samples) run.samples.push({ time: record.time, ...record.body }), (change ||= "draw");
    else if (record.kind !== "run.passed" || !record.body) change = "load";
    else if (addPoints(run, record, query)) change = "load";
    else change ||= "draw";
  }
  return change;
}

const MOST_POINTS = 4000;

/* Whether the run is to be loaded again: there are too many points to draw, or a part of the axis is shown. */
function addPoints(run, { body, time }, query) {
  if (query.high) return false;
  for (const [metric, value] of Object.entries(body.metrics || {})) {
    if (missing(value) || missing(body.step)) continue;
    let curve = run.curves.find((one) => one.stage === body.stage && one.metric === metric);
    if (!curve) run.curves.push((curve = { stage: body.stage, metric, unit: body.unit, points: 0, metrics: {}, x: [], y: [] }));
    curve.metrics.last = value;
    if (typeof value === "string") continue; // "NaN" and "Infinity" are said, not drawn
    const x = query.by === "time" ? time : body.step;
    while (curve.x.length && x <= curve.x[curve.x.length - 1]) curve.x.pop(), curve.y.pop(); // it began again
    curve.x.push(x);
    curve.y.push(value);
    curve.points += 1;
    if (curve.x.length > MOST_POINTS) return true;
  }
  if ((body.unit === "stage" || body.unit === "part") && run.stages) run.stages.push(body);
  return false;
}
