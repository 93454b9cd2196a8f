// Serving: what servers answer, how fast, what waits, and which versions answer. Asked anew while it is shown.

page("serving", { title: "Serving", key: "v", draw: drawServing, on: () => null });

let serverTimer = 0;

function drawServing(root, data) {
  clearTimeout(serverTimer);
  if (data.servers.length) serverTimer = setTimeout(() => live.name === "serving" && !document.hidden && later("load"), 2000);
  addEventListener("visibilitychange", () => live.name === "serving" && later("load"), { once: true });
  put(root, head("Serving", el("span", { class: "muted" }, data.servers.length ? `${data.servers.filter(({ away }) => !away).length} of ${data.servers.length} servers answer` : "")));
  if (!data.servers.length) {
    put(root, empty("The board was told of no server. Name one or several:", "outgrow board --server http://127.0.0.1:8000"));
    return;
  }
  for (const server of data.servers) put(root, drawServer(server));
}

function drawServer(server) {
  const top = el("div", { class: "head" }, el("h2", {}, el("i", { class: `dot ${server.away ? "bad" : "good"}` }), server.url), server.away ? null : el("span", { class: "muted small" }, [missing(server.cpu) ? null : `${server.cpu.toFixed(2)} processors`, missing(server.resident_bytes) ? null : bytes(server.resident_bytes), server.log_lost ? `${number(server.log_lost)} rows of its log are lost` : null].filter(Boolean).join(" · ")));
  if (server.away) return el("section", { "data-server": server.url, "data-state": "away" }, top, el("div", { class: "error" }, el("b", {}, "Away. "), server.away, el("span", { class: "muted" }, missing(server.heard) ? " It was not heard since the board began." : ` Last heard ${ago(server.heard)}.`)));
  return el("section", { "data-server": server.url, "data-state": "up" }, top, server.models.length ? server.models.map((model) => drawServed(server, model)) : empty("It has not answered a request yet."));
}

const clockOf = (time) => date(time).slice(11, 19);
const perSecond = (value) => (missing(value) ? NONE : value >= 100 ? number(Math.round(value)) : Number(value.toFixed(1)).toString());

function drawServed(server, model) {
  const bad = model.failed_rate > 0 || model.failed > 0;
  const of = (name) => (server.models.length > 1 ? `${model.model}: ${name}` : name);
  const wait = model.series.time.length ? null : "measured from the second look on";
  return [
    server.models.length > 1 ? el("h3", {}, model.model) : null,
    tiles([
      [perSecond(model.rate), "requests a second"],
      [perSecond(model.row_rate), "rows a second"],
      [span(model.p50), "half are faster (p50)"],
      [span(model.p99), "99 % are faster (p99)"],
      [number(model.waiting), missing(model.queue_p99) ? "rows wait" : `rows wait; p99 of the wait ${span(model.queue_p99)}`],
      [el("span", { class: bad ? "bad" : null }, number(model.failed)), "requests failed"],
    ]),
    model.series.time.length ? el("div", { class: "cards three" },
      servedFigure(of("Requests a second"), model.series, [["rate", "requests"]], perSecond),
      servedFigure(of("Time of an answer"), model.series, [["p50", "p50"], ["p99", "p99"]], span),
      model.series.waiting.some(Boolean) ? servedFigure(of("Rows that wait"), model.series, [["waiting", "waiting"]], number) : null) : el("p", { class: "muted" }, wait),
    el("p", {}),
    table(of("Versions that answer"), [
      { name: "role", show: (word, row) => el("span", {}, el("i", { class: `dot ${row.answers ? "good" : ""}` }), word) },
      { name: "version", show: (word) => word || "as it was saved" },
      { name: "share", number: true, show: (value) => (missing(value) ? NONE : el("span", {}, meter(value), share(value))) },
      { name: "rate", title: "a second", number: true, show: perSecond },
      { name: "requests", number: true },
      { name: "failed", number: true, show: (value) => el("span", { class: value ? "bad" : null }, number(value)) },
      { name: "p50", number: true, show: span },
      { name: "p99", number: true, show: span },
    ], model.versions),
    model.drift.length ? [el("p", {}), table(of("Drift of the last window"), [{ name: "column" }, { name: "metric" }, { name: "value", number: true, show: score }], model.drift)] : null,
    el("p", {}),
  ];
}

const meter = (part) => svg("svg", { class: "meter", viewBox: "0 0 60 6", width: 60, height: 6, "aria-hidden": "true" }, svg("rect", { width: 60, height: 6, rx: 3, fill: "var(--line)" }), svg("rect", { width: Math.max(1, 60 * part), height: 6, rx: 3, fill: "var(--accent)" }));

function servedFigure(title, series, names, format) {
  const drawn = names.map(([key, name], i) => {
    const there = series.time.map((_, k) => k).filter((k) => !missing(series[key][k]));
    return { name, x: there.map((k) => series.time[k]), y: there.map((k) => series[key][k]), color: i };
  });
  return figure(title, lines(drawn, { height: 170, time: true, xFormat: clockOf, yFormat: format, xLabel: "time" }), { legend: names.map(([, name], i) => [name, i]), csv: () => [["time", ...names.map(([, name]) => name)], ...series.time.map((time, k) => [date(time), ...names.map(([key]) => series[key][k])])] });
}
