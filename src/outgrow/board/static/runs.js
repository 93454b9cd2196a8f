// The list of runs: filtered and ordered by the server, compared by choice, drawn as parallel coordinates.

const picked = new Set();

page("runs", {
  title: "Runs",
  key: "r",
  load: (query) => (query.run ? api("run", { run: query.run, by: query.by, low: query.low, high: query.high, width: 700 }) : query.compare ? api("compare", { runs: query.compare, by: query.by, width: 700 }) : api("runs", { filter: query.filter, sort: query.sort, limit: query.limit || (query.view ? 1000 : 100) })),
  draw: (root, data, query) => (query.run ? drawRun(root, data, query) : query.compare ? drawComparison(root, data, query) : drawRuns(root, data, query)),
  on: (records, data, query) => (query.run || query.compare ? followRuns(records, data, query) : records.some(({ kind }) => /^run\.(began|ended|measured|tagged|deleted)$/.test(kind)) ? "load" : null),
});

const short8 = (run) => run.slice(0, 8);
const bare = (name) => name.replace(/^(params|metrics|tags)\./, "");

function drawRuns(root, data, query) {
  const change = (words) => go("runs", { ...query, ...words });
  const filter = el("input", { type: "search", name: "filter", "data-keep": "filter", value: query.filter || "", placeholder: "metrics.log_loss < 0.4 and params.C = '1'", "aria-label": "Filter", spellcheck: "false", autocomplete: "off" });
  put(root, head("Runs", el("span", { class: "muted" }, `${number(data.count)} ${query.filter ? "match" : "recorded"}`)));
  put(root, el("form", { class: "tools", onsubmit: (event) => (event.preventDefault(), change({ filter: filter.value.trim(), limit: null })) }, filter,
    el("button", { type: "submit" }, "Filter"),
    el("button", { type: "button", "aria-pressed": String(query.view === "parallel"), onclick: () => change({ view: query.view ? null : "parallel" }) }, "Parallel coordinates"),
    el("button", { type: "button", class: picked.size > 1 ? "main" : null, id: "compare", disabled: picked.size < 2, onclick: () => go("runs", { compare: [...picked].map(short12).join(",") }) }, picked.size > 1 ? `Compare ${picked.size}` : "Compare")));
  if (!data.count) {
    put(root, query.filter ? empty("No run matches.") : empty("No run is recorded yet. Record some:", "OUTGROW_LOG=outgrow.db outgrow run job.yaml"));
    return;
  }
  if (query.view === "parallel") put(root, parallelRuns(data, query, change), el("p", {}));
  put(root, table("Runs", runColumns(data), data.runs, {
    open: (row) => go("runs", { run: short12(row.run) }), key: (row) => row.run, sorted: query.sort || "-began", sort: (sort) => change({ sort }),
    chosen: picked, choose: (row) => (picked.delete(row.run) || picked.add(row.run), later("draw")),
  }));
  if (data.runs.length < data.count && data.runs.length < 1000) put(root, el("p", {}), el("button", { type: "button", onclick: () => go("runs", { ...query, limit: Math.min(1000, data.runs.length + 300) }, { replace: true }) }, `More (${number(data.count - data.runs.length)} left)`));
}

const short12 = (run) => run.slice(0, 12);

function runColumns(data) {
  return [
    { name: "name", show: (value, row) => [value, " ", el("span", { class: "muted mono small" }, short8(row.run))] },
    { name: "state", show: state },
    { name: "kind" },
    { name: "began", show: when },
    { name: "seconds", title: "time", number: true, show: span },
    { name: "rows", number: true },
    ...data.columns.map((name) => ({ name, title: bare(name), number: name.startsWith("metrics."), show: name.startsWith("metrics.") ? score : undefined })),
    { name: "user" },
  ];
}

function parallelRuns(data, query, change) {
  const params = data.columns.filter((name) => name.startsWith("params."));
  const metrics = [...data.columns.filter((name) => name.startsWith("metrics.")), "seconds"];
  const metric = metrics.includes(query.metric) ? query.metric : metrics[0];
  const extra = el("select", { "aria-label": "Metric", "data-keep": "metric", onchange: (event) => change({ metric: event.target.value }) }, metrics.map((name) => el("option", { value: name, selected: name === metric }, bare(name))));
  const dimensions = [...params, metric].map((name) => ({ name: bare(name) }));
  const rows = data.runs.filter((row) => typeof row[metric] === "number").map((row) => ({ name: `${row.name} ${short8(row.run)}: ${bare(metric)} ${score(row[metric])}`, values: [...params, metric].map((name) => row[name]), open: () => go("runs", { run: short12(row.run) }) }));
  const note = `${number(rows.length)} runs; the stronger the better, orange is the best`;
  return figure("Parameters and " + bare(metric), parallel(dimensions, rows, { better: metric === "seconds" || data.smaller.includes(metric) ? "low" : "high" }), { note, wide: true, extra, csv: () => [dimensions.map(({ name }) => name), ...rows.map(({ values }) => values)] });
}
