// Cluster: what each rank of a fit does, what it holds in memory, and for whom the others wait.

page("cluster", { title: "Cluster", key: "c", draw: drawCluster, on: reloads("run.ranks", "run.sampled", "run.ended") });

function drawCluster(root, data) {
  const run = data.runs.find((one) => one.run === data.run);
  put(root, head("Cluster", run ? el("span", {}, el("a", { href: link("runs", { run: run.run.slice(0, 12) }) }, run.name), " ", el("span", { class: "muted mono small" }, short8(run.run))) : null, run ? state(run.state) : null, run && run.engine ? el("span", { class: "chip" }, run.engine) : null));
  if (!run) {
    put(root, empty("No run told what it uses yet. Fit on several ranks with a log:", "OUTGROW_LOG=ops.db outgrow run job.yaml --engine processes[4]"));
    return;
  }
  put(root, el("div", { class: "tools" }, selection("Run", data.runs.map((one) => [one.run, `${one.name} ${short8(one.run)}${one.ranked ? ", ranks" : ""}`]), data.run, (word) => go("cluster", { run: word }))));
  for (const stage of [...data.stages].reverse()) put(root, ...drawStage(stage, data.stages.length > 1));
  if (!data.stages.length) put(root, el("p", { class: "muted" }, "This run told of no ranks: it is one process, or its engine has none."));
  if (data.samples.length) put(root, ...drawUse(data.samples));
}

function drawStage(stage, several) {
  const slow = new Set(stage.stragglers.map(String));
  const ranks = stage.ranks;
  const total = ranks.reduce((sum, { rows_per_second: rate }) => sum + rate, 0);
  const hosts = new Set(ranks.map(({ host }) => host)).size;
  const title = (name) => (several ? `${stage.stage}: ${name}` : name);
  const slowest = ranks.reduce((worst, rank) => (rank.rows_per_second < worst.rows_per_second ? rank : worst), ranks[0]);
  const tone = ({ rank }) => (slow.has(String(rank)) ? 1 : 0);
  const name = ({ rank, host }) => (hosts > 1 ? `${rank} on ${host}` : `rank ${rank}`);
  const few = ranks.slice(0, 64);
  const byRank = (field) => () => [["rank", "host", field], ...ranks.map((rank) => [rank.rank, rank.host, rank[field]])];
  return [
    several ? el("h2", {}, stage.stage) : null,
    tiles([
      [number(ranks.length), hosts > 1 ? `ranks on ${hosts} hosts` : "ranks"],
      [short(total), "rows a second together"],
      [bytes(Math.max(...ranks.map(({ memory }) => memory))), "held by the largest"],
      [slow.size ? el("span", { class: "bad" }, `rank ${[...slow].join(", ")}`) : "none", "lets the others wait"],
    ]),
    slow.size ? el("div", { class: "error", "data-slow": [...slow].join(" ") }, el("b", {}, `${slow.size === 1 ? "Rank" : "Ranks"} ${[...slow].join(", ")} of ${stage.stage} ${slow.size === 1 ? "is" : "are"} slow. `), `The slowest, rank ${slowest.rank} on ${slowest.host}, does ${short(slowest.rows_per_second)} rows a second.`) : null,
    el("div", { class: "cards three" },
      figure(title("Rows a second by rank"), bars(few.map((rank) => ({ name: name(rank), value: rank.rows_per_second, text: short(rank.rows_per_second), color: tone(rank) }))), { note: ranks.length > few.length ? `the first ${few.length}` : slow.size ? "orange: the others wait for it" : null, csv: byRank("rows_per_second") }),
      figure(title("Memory by rank"), bars(few.map((rank) => ({ name: name(rank), value: rank.memory, text: bytes(rank.memory), color: tone(rank) })), { format: bytes }), { csv: byRank("memory") }),
      rateFigure(title("Rows a second over time"), stage, slow)),
    el("p", {}),
    table(title("Ranks"), [
      { name: "rank", number: true, show: (value) => el("span", { class: slow.has(String(value)) ? "bad" : null }, String(value)) },
      { name: "host" },
      { name: "rows", number: true },
      { name: "seconds", title: "at work", number: true, show: span },
      { name: "rows_per_second", title: "rows a second", number: true, show: short },
      { name: "memory", number: true, show: bytes },
    ], ranks, { key: ({ rank }) => String(rank) }),
    el("p", {}),
  ].filter(Boolean);
}

/* Each rank as a line; more than six are gray, but for the slow ones. */
function rateFigure(title, stage, slow) {
  const ids = Object.keys(stage.series).sort((a, b) => a - b);
  const series = ids.filter((id) => stage.series[id].time.length > 1).map((id, i) => ({ name: `rank ${id}`, x: stage.series[id].time, y: stage.series[id].rows_per_second, color: slow.has(id) ? 1 : ids.length > 6 || i === 1 ? 5 : i }));
  if (!series.length) return null;
  return figure(title, lines(series, { height: 190, time: true, xFormat: clockOf, yFormat: short, xLabel: "time" }), { note: slow.size ? "orange: slow" : null, csv: () => [["rank", "time", "rows_per_second", "memory"], ...ids.flatMap((id) => stage.series[id].time.map((time, k) => [id, date(time), stage.series[id].rows_per_second[k], stage.series[id].memory[k]]))] });
}

function drawUse(samples) {
  const line = (name, value, number) => ({ name, x: samples.filter((one) => !missing(value(one))).map(({ time }) => time), y: samples.map(value).filter((one) => !missing(one)), color: number });
  const gpus = (samples[samples.length - 1].gpus || []).map((gpu, i) => line(`GPU ${gpu.number ?? i}`, (one) => one.gpus?.[i]?.utilization, i));
  return [
    el("h2", {}, "The machine of the driver"),
    el("div", { class: "cards" },
      figure("Processors in use", lines([line("this process", ({ cpu }) => cpu, 0)], { height: 170, time: true, xFormat: clockOf, xLabel: "time" }), { csv: () => [["time", "processors"], ...samples.map((one) => [date(one.time), one.cpu])] }),
      figure("Memory", lines([line("this process", ({ resident_bytes: held }) => held, 0)], { height: 170, time: true, xFormat: clockOf, yFormat: bytes, xLabel: "time" }), { csv: () => [["time", "bytes"], ...samples.map((one) => [date(one.time), one.resident_bytes])] }),
      gpus.some(({ x }) => x.length) ? figure("GPUs in use", lines(gpus, { height: 170, time: true, xFormat: clockOf, yFormat: share, xLabel: "time" })) : null),
  ];
}
