// Plans beside what the jobs then took.

page("plan", { title: "Plan", key: "p", draw: drawPlans, on: reloads("plan.made", "plan.met") });

function drawPlans(root, data, query) {
  put(root, head("Plan and actual", el("span", { class: "muted" }, `${number(data.met.length)} runs of planned jobs`), query.job ? el("a", { href: "#plan" }, "All jobs") : null));
  if (!data.plans.length && !data.met.length) {
    put(root, empty("No job was planned yet where runs are recorded. Plan one, then run it:", "export OUTGROW_LOG=outgrow.db\noutgrow plan job.yaml\noutgrow run job.yaml"));
    return;
  }
  if (data.met.length) put(root, metTiles(data.met), el("div", { class: "cards" }, metFigure(data.met), stageFigure(data.met[0])), el("p", {}), metTable(data.met));
  if (data.plans.length) put(root, el("h2", {}, `The last plan: ${data.plans[0].name}`), planParts(data.plans[0]));
}

const ratio = (one) => one.took.seconds / one.planned.seconds;

function metTiles(met) {
  const known = met.filter(({ low, high }) => !missing(low) && !missing(high));
  const within = known.filter(({ low, high, took }) => low <= took.seconds && took.seconds <= high).length;
  const logs = met.map(ratio).filter((value) => value > 0).map(Math.log);
  const memory = met.map(({ took, planned }) => took.memory / planned.memory).filter((value) => value > 0).map(Math.log);
  const mean = (values) => (values.length ? `${Math.exp(values.reduce((a, b) => a + b, 0) / values.length).toFixed(2)}×` : NONE);
  return tiles([[`${within} of ${known.length}`, "within the interval"], [mean(logs), "time taken / planned"], [mean(memory), "memory taken / planned"]]);
}

function metFigure(met) {
  const draw = (width) => {
    const height = 260;
    const items = met.filter(({ planned, took }) => planned.seconds > 0 && took.seconds > 0);
    const all = items.flatMap(({ planned, took }) => [planned.seconds, took.seconds]);
    const frame = axes(width, height, extent(all), extent(all), { xLabel: "planned", yLabel: "taken", xFormat: shortSpan, yFormat: shortSpan, xPad: 0.06, pad: 0.06 });
    const [low, high] = extent(all);
    return canvas(width, height, frame.nodes, svg("line", { class: "cross", x1: frame.x(low), y1: frame.y(low), x2: frame.x(high), y2: frame.y(high) }), items.map((one) => svg("circle", { cx: frame.x(one.planned.seconds).toFixed(1), cy: frame.y(one.took.seconds).toFixed(1), r: 4.5, fill: color(one.low <= one.took.seconds && one.took.seconds <= one.high ? 0 : 1), "fill-opacity": 0.75, "data-link": "", onclick: () => one.run && go("runs", { run: short12(one.run) }), ...tipped(`${one.name}: planned ${span(one.planned.seconds)}, took ${span(one.took.seconds)}`) })));
  };
  return figure("Time", draw, { note: "on the line, a run took what was planned; orange lies outside its interval", csv: () => [["job", "planned", "taken"], ...met.map((one) => [one.name, one.planned.seconds, one.took.seconds])] });
}

function stageFigure(one) {
  const names = Object.keys(one.planned.stages || {});
  if (!names.length) return null;
  const items = names.flatMap((name) => [{ name, value: one.planned.stages[name], text: `${span(one.planned.stages[name])} planned` }, { name: "", value: one.took.stages[name] ?? 0, text: `${span(one.took.stages[name])} taken`, color: 1 }]);
  return figure("Stages of the last run", bars(items), { note: one.name, legend: [["planned", 0], ["taken", 1]], csv: () => [["stage", "planned", "taken"], ...names.map((name) => [name, one.planned.stages[name], one.took.stages[name]])] });
}

function metTable(met) {
  return table("Runs of planned jobs", [
    { name: "name", title: "job" },
    { name: "time", title: "ended", show: when },
    { name: "rows", number: true },
    { name: "planned", title: "planned", number: true, value: ({ planned }) => planned.seconds, show: span },
    { name: "low", title: "from", number: true, show: span },
    { name: "high", title: "to", number: true, show: span },
    { name: "took", title: "taken", number: true, value: ({ took }) => took.seconds, show: (value, one) => el("span", { class: missing(one.low) ? null : one.low <= value && value <= one.high ? "good" : "warn" }, span(value)) },
    { name: "ratio", title: "taken / planned", number: true, value: ratio, show: (value) => `${value.toFixed(2)}×` },
    { name: "memory", title: "memory planned", number: true, value: ({ planned }) => planned.memory, show: bytes },
    { name: "held", title: "memory taken", number: true, value: ({ took }) => took.memory, show: bytes },
  ], met, { open: (one) => one.run && go("runs", { run: short12(one.run) }), key: (one) => one.run });
}

function planParts(plan) {
  const rows = [...Object.entries({ seconds: plan.seconds, ...plan.stages })].map(([name, one]) => ({ name: name === "seconds" ? "in all" : name, ...one }));
  return el("div", { class: "cards" },
    el("section", { class: "card wide" }, facts([["planned", date(plan.time)], ["job", plan.job], ["rows", plan.size?.rows], ["planning took", span(plan.planning_seconds)]]), el("p", {}), (plan.advice || []).map((text) => el("p", {}, text))),
    el("div", { class: "wide" }, table("Places", [{ name: "where" }, { name: "seconds", title: "time", number: true, value: ({ seconds }) => seconds?.value ?? seconds, show: span }, { name: "memory", number: true, show: bytes }, { name: "price", title: plan.currency || "price", number: true }, { name: "because", wrap: true }].filter(({ name }) => (plan.places || []).some((one) => !missing(one[name]))), plan.places || [])),
    el("div", { class: "wide" }, table("Where the numbers come from", [{ name: "name", title: "" }, { name: "value", title: "time", number: true, show: span }, { name: "low", title: "from", number: true, show: span }, { name: "high", title: "to", number: true, show: span }, { name: "formula", wrap: true }].filter(({ name }) => name === "name" || rows.some((one) => !missing(one[name]))), rows)));
}
