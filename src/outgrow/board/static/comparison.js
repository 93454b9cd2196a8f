// Runs beside each other: what differs first.

const SECTIONS = { parameters: "Parameters", metrics: "Metrics", data: "Data", columns: "Columns", environment: "Environment", code: "Code" };

function drawComparison(root, data, query) {
  const all = query.all === "1";
  put(root, head(`${data.runs.length} runs compared`, el("span", { class: "space" }), el("a", { href: "#runs" }, "All runs")));
  put(root, el("div", { class: "tools" }, el("label", {}, el("input", { type: "checkbox", checked: all, "data-keep": "all", onchange: () => go("runs", { ...query, all: all ? null : "1" }, { replace: true }) }), "also what is the same")));
  const figures = curveFigures(data.runs, query);
  if (figures.length || query.curve) put(root, curveTools(query, Math.max(...data.runs.map((run) => run.curves.length))), el("div", { class: "cards" }, figures), el("p", {}));
  for (const [name, title] of Object.entries(SECTIONS)) {
    const facts = (data.sections[name] || []).filter((fact) => all || !fact.same || name === "metrics");
    if (facts.length) put(root, el("p", {}), comparisonTable(title, facts, data.runs));
  }
  if (!Object.values(data.sections).flat().some((fact) => !fact.same)) put(root, empty("These runs do not differ in anything that is recorded."));
}

function comparisonTable(title, facts, runs) {
  const number = title === "Metrics";
  const shown = (value, fact) => (fact.name === "memory" ? bytes(value) : /seconds$/.test(fact.name) ? span(value) : number ? score(value) : plain(value));
  return table(title, [
    { name: "name", title: "" },
    ...runs.map((run, i) => ({ name: run.run, title: `${run.name} ${short8(run.run)}`, number, value: (fact) => fact.values[i], show: (value, fact) => el("span", { class: best(fact, i, number) }, shown(value, fact)) })),
  ], facts, { mark: (fact) => (fact.same ? "same" : "differs") });
}

/* Good where no other run has a better value of the metric. */
function best(fact, i, number) {
  const values = fact.values.filter((value) => typeof value === "number");
  if (!number || fact.same || values.length < 2 || fact.name === "rows") return null;
  return fact.values[i] === (fact.smaller ? Math.min(...values) : Math.max(...values)) ? "good" : null;
}
