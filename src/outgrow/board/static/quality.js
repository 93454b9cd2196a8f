// Quality: how good the answers were, window by window, as labels came; and what was promised before.

page("quality", { title: "Quality", key: "u", draw: drawQuality, on: reloads("label.met", "finding", "alert") });

const USUAL_METRICS = ["accuracy", "log_loss", "rmse", "mae", "r2", "error"];

function drawQuality(root, data, query) {
  const change = (words) => go("quality", { ...query, ...words });
  put(root, head("Quality", data.model ? el("span", { class: "muted" }, data.model) : null));
  if (!data.model) {
    put(root, empty("No labels have met the answers of a model yet. Give them to a watch:", "outgrow watch store/ log/ --log ops.db --labels landed/ --on request_id --label late"));
    return;
  }
  const shown = data.metrics.filter((name) => !/^estimated_|_low$|_high$/.test(name));
  const metric = shown.includes(query.metric) ? query.metric : USUAL_METRICS.find((name) => shown.includes(name)) || shown[0];
  put(root, el("div", { class: "tools" },
    selection("Model", data.models, data.model, (model) => change({ model, slice: null })),
    selection("Metric", shown, metric, (word) => change({ metric: word })),
    data.slices.length ? selection("Slice", data.slices, data.slice, (slice) => change({ slice }), "all rows") : null));
  put(root, qualityTiles(data, metric));
  const figures = [metric && data.windows.length ? metricFigure(data, metric) : null, data.looks.length ? lookFigure(data.looks) : null, data.windows.length ? labelFigure(data) : null].filter(Boolean);
  put(root, el("div", { class: "cards" }, figures), el("p", {}), alertTable(data.alerts), el("p", {}));
  if (data.overall.length) put(root, qualityTable("All windows together", data.overall, shown, metric), el("p", {}));
  if (data.windows.length) put(root, qualityTable("Windows", [...data.windows].reverse(), shown, metric));
}

function qualityTiles(data, metric) {
  const rows = data.overall.reduce((sum, line) => sum + line.rows, 0);
  const labelled = data.overall.reduce((sum, line) => sum + line.labelled, 0);
  const newest = data.overall[data.overall.length - 1];
  const wrong = (data.labels.unknown || 0) + (data.labels.contradicted || 0);
  return tiles([
    newest && metric ? [score(newest[metric]), newest.version ? `${metric}, version ${newest.version}` : metric] : null,
    newest && !missing(newest[`estimated_${metric}`]) ? [score(newest[`estimated_${metric}`]), `${metric} as promised`] : null,
    rows ? [share(labelled / rows), `of ${number(rows)} rows have a label`] : null,
    newest && !missing(newest.label_lag_seconds) ? [span(newest.label_lag_seconds), "until a label comes"] : null,
    wrong ? [number(wrong), "labels contradict or are of no row"] : null,
  ]);
}

/* A line a version, and what the probabilities promised beside it. */
function metricFigure(data, metric) {
  const versions = [...new Set(data.windows.filter(({ role }) => role !== "shadow").map(({ version }) => version))];
  const of = (version, name) => data.windows.filter((line) => line.version === version && line.role !== "shadow" && !missing(line[name]));
  const one = (version, name, number, dash) => ({ name: `${dash ? "promised" : metric}${version ? `, version ${version}` : ""}`, x: of(version, name).map(({ start }) => start), y: of(version, name).map((line) => line[name]), color: number, dash });
  const series = versions.flatMap((version, i) => [one(version, metric, i), one(version, `estimated_${metric}`, i, "4 4")]).filter(({ x }) => x.length);
  const csvRows = () => [["start", "version", metric], ...data.windows.filter((line) => !missing(line[metric])).map((line) => [date(line.start), line.version, line[metric]])];
  return figure(metric, lines(series, { time: true, xFormat: hour, xLabel: "window" }), { note: series.some(({ dash }) => dash) ? "dashed: as the probabilities promise" : null, csv: csvRows, legend: versions.map((version, i) => [version ? `version ${version}` : metric, i]) });
}

function lookFigure(looks) {
  const there = looks.filter(({ error }) => !missing(error));
  const series = [...new Set(there.map(({ version }) => version))].map((version, i) => ({ name: `error, version ${version}`, x: there.filter((look) => look.version === version).map(({ until }) => until), y: there.filter((look) => look.version === version).map(({ error }) => error), color: i }));
  return figure("Errors that the loop saw", lines(series, { time: true, xFormat: hour, xLabel: "window" }), { note: there.length ? there[there.length - 1].because : null, csv: () => [["until", "version", "error", "verdict"], ...looks.map((look) => [date(look.until), look.version, look.error, look.verdict])], legend: series.map(({ name, color: n }) => [name, n]) });
}

/* How many rows of each window have their label, wait for it, or will never get it. */
function labelFigure(data) {
  const sum = new Map();
  for (const line of data.windows) {
    const all = sum.get(line.start) || { rows: 0, labelled: 0 };
    sum.set(line.start, { rows: all.rows + line.rows, labelled: all.labelled + line.labelled });
  }
  const times = [...sum.keys()].sort((a, b) => a - b);
  const drawn = (width) => {
    const height = 200;
    const most = Math.max(...times.map((time) => sum.get(time).rows));
    const frame = axes(width, height, [0, times.length], [0, most], { pad: 0, xFormat: () => "" });
    const wide = (frame.right - frame.left) / times.length;
    return canvas(width, height, frame.nodes, times.map((time, i) => {
      const { rows, labelled } = sum.get(time);
      return svg("g", tipped(`${hour(time)}: ${number(labelled)} of ${number(rows)} rows have a label`),
        svg("rect", { class: "was", x: frame.left + i * wide + 0.5, y: frame.y(rows), width: Math.max(1, wide - 1), height: frame.bottom - frame.y(rows) }),
        svg("rect", { fill: color(0), x: frame.left + i * wide + 0.5, y: frame.y(labelled), width: Math.max(1, wide - 1), height: frame.bottom - frame.y(labelled) }));
    }), times.length ? [svg("text", { x: frame.left, y: height - 18 }, hour(times[0]).slice(5)), svg("text", { x: frame.right, y: height - 18, "text-anchor": "end" }, hour(times[times.length - 1]).slice(5))] : null);
  };
  return figure("Rows and their labels", drawn, { note: "blue: with a label", csv: () => [["start", "rows", "labelled"], ...times.map((time) => [date(time), sum.get(time).rows, sum.get(time).labelled])] });
}

function qualityTable(title, rows, metrics, metric) {
  const others = metrics.filter((name) => name !== metric && name !== "label_lag_seconds").slice(0, 6);
  return table(title, [
    rows[0] && rows[0].start !== undefined ? { name: "start", title: "from", show: hour } : null,
    { name: "version" },
    rows.some(({ role }) => role) ? { name: "role", show: (word) => word || "" } : null,
    { name: "rows", number: true },
    { name: "labelled", number: true },
    { name: "waiting", number: true },
    ...[metric, `estimated_${metric}`, ...others].filter((name) => rows.some((row) => !missing(row[name]))).map((name) => ({ name, title: name.replaceAll("_", " "), number: true, show: score })),
  ].filter(Boolean), rows);
}
