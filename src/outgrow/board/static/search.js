// Searches: trials appear as they end, with the best so far and what matters.

page("search", {
  title: "Search",
  key: "s",
  load: loadSearch,
  draw: (root, data, query) => (query.run ? drawSearch(root, data) : drawSearches(root, data)),
  on: (records, data, query) => (query.run ? followSearch(records, data) : records.some(({ kind }) => kind === "run.began" || kind === "run.ended") ? "load" : null),
});

/* What matters takes longer than the rest, and is drawn when it is there. */
async function loadSearch(query) {
  const data = await api("search", query);
  if (!query.run) return data;
  const before = live.data && live.data.run === data.run ? live.data.importances : {};
  const show = ({ importances }) => live.data === data && ((data.importances = importances), later("draw"));
  api("search", { ...query, importances: 1 }).then(show, () => null);
  data.importances = before || {};
  return data;
}

function drawSearches(root, data) {
  put(root, head("Searches", el("span", { class: "muted" }, `${number(data.count)} recorded`)));
  if (!data.count) return void put(root, empty("No search is recorded yet. Begin one:", "OUTGROW_LOG=outgrow.db outgrow tune job.yaml"));
  const columns = runColumns(data).filter(({ name }) => name !== "kind");
  put(root, table("Searches", columns, data.runs, { open: (row) => go("search", { run: short12(row.run) }), key: (row) => row.run }));
}

function drawSearch(root, data) {
  const [metric] = data.metrics;
  const done = data.trials.filter((trial) => trial.state === "complete" && !missing(trial[metric]));
  const sign = data.smaller ? 1 : -1;
  const ranked = [...done].sort((a, b) => sign * (a[metric] - b[metric]));
  const top = ranked[0];
  put(root, head(data.name, el("span", { class: "mono muted" }, short12(data.run)), state(data.state), el("span", { class: "space" }), el("a", { href: link("runs", { run: short12(data.run) }) }, "The run"), el("a", { href: "#search" }, "All searches")));
  put(root, tiles([
    [`${number(data.finished)}${data.total ? ` of ${number(data.total)}` : ""}`, "trials"],
    [top ? score(top[metric]) : NONE, `best ${metric}`],
    [span(data.seconds ?? Date.now() / 1000 - data.began), data.seconds ? "time" : "so far"],
    ...Object.entries(top || {}).filter(([name, value]) => data.names.includes(name) && !missing(value)).slice(0, 4).map(([name, value]) => [plain(value), `best ${name}`]),
  ]));
  if (!data.trials.length) return void put(root, empty("No trial has ended yet. They appear here by themselves."));
  const figures = [historyFigure(data, done, top), costFigure(data, done, top), importanceFigure(data)].filter(Boolean);
  put(root, el("div", { class: "cards" }, figures, done.length > 2 && data.names.length ? settingsFigure(data, done) : null), el("p", {}));
  put(root, trialTable(data));
}

function historyFigure(data, done, top) {
  const [metric] = data.metrics;
  let reached = null;
  const best = [...done].sort((a, b) => a.trial - b.trial).map((trial) => {
    reached = reached === null ? trial[metric] : (data.smaller ? Math.min : Math.max)(reached, trial[metric]);
    return { x: trial.trial, y: reached };
  });
  const items = done.map((trial) => ({ x: trial.trial, y: trial[metric], name: `Trial ${trial.trial}: ${metric} ${score(trial[metric])}`, strong: trial === top, color: trial === top ? 1 : 0 }));
  return figure("History", points(items, { best, xLabel: "trial" }), { note: `${metric}; the line is the best so far`, logs: true, csv: () => [["trial", metric, "best"], ...best.map(({ x, y }, i) => [x, done.find((t) => t.trial === x)[metric], y])] });
}

function importanceFigure(data) {
  const items = Object.entries(data.importances).map(([name, value]) => ({ name: shortName(name, data.names), value }));
  if (!items.length) return null;
  return figure("What matters", bars(items, { format: share, most: 1 }), { note: "share of the differences explained (fANOVA)", wide: true, csv: () => [["parameter", "share"], ...Object.entries(data.importances)] });
}

function costFigure(data, done, top) {
  const [metric] = data.metrics;
  const timed = done.filter(({ seconds }) => seconds > 0);
  if (timed.length < 2) return null;
  const items = timed.map((trial) => ({ x: trial.seconds, y: trial[metric], name: `Trial ${trial.trial}: ${score(trial[metric])} in ${span(trial.seconds)}`, strong: trial === top, color: trial === top ? 1 : 0 }));
  return figure("Cost and quality", points(items, { xLabel: "time of the trial", xFormat: shortSpan }), { note: metric, csv: () => [["seconds", metric], ...timed.map((trial) => [trial.seconds, trial[metric]])] });
}

function settingsFigure(data, done) {
  const [metric] = data.metrics;
  const names = [...data.names, metric];
  const rows = done.map((trial) => ({ values: names.map((name) => trial[name]), name: `Trial ${trial.trial}: ${metric} ${score(trial[metric])}` }));
  return figure("Settings", parallel(names.map((name) => ({ name: shortName(name, data.names) })), rows, { better: data.smaller ? "low" : "high" }), { note: "a line for each trial, the stronger the better it did; orange is the best", wide: true, csv: () => [names, ...rows.map(({ values }) => values)] });
}

/* A parameter without the name of its step, where that leaves it apart. */
function shortName(name, names) {
  const tail = name.split("__").pop();
  return names.filter((other) => other.split("__").pop() === tail).length > 1 ? name.replaceAll("__", " ") : tail;
}

function trialTable(data) {
  const tone = { complete: "good", pruned: "warn", fail: "bad", running: "busy" };
  return table("Trials", [
    { name: "trial", number: true },
    { name: "state", show: (word) => el("span", {}, el("i", { class: `dot ${tone[word] || ""}` }), word) },
    ...data.metrics.map((name) => ({ name, number: true, show: score })),
    ...data.names.map((name) => ({ name, title: shortName(name, data.names), number: data.trials.every((trial) => missing(trial[name]) || typeof trial[name] === "number") })),
    { name: "seconds", title: "time", number: true, show: span },
    { name: "error", wrap: data.trials.some(({ error }) => error) },
  ].filter(({ name }) => name !== "error" || data.trials.some(({ error }) => error)), data.trials);
}

/* A trial is drawn as it comes; what matters is asked for. */
function followSearch(records, data) {
  const own = records.filter(({ subject }) => subject === data.run);
  for (const { body } of own) {
    if (body && body.unit === "trial" && body.details && !data.trials.some(({ trial }) => trial === body.details.trial)) {
      data.trials.push(body.details);
      data.finished = body.step;
      for (const name of Object.keys(body.details)) {
        if (!["trial", "state", "seconds", "error", ...data.metrics, ...data.names].includes(name)) data.names.push(name);
      }
    }
  }
  if (own.some(({ kind }) => kind === "run.ended") || (own.length && data.trials.length % 8 === 0)) later("load");
  return own.length ? "draw" : null;
}
