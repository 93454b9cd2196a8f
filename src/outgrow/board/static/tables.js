// Tables: sorted by a click on a head, each to be taken along as CSV.

const orders = new Map(); // the order that was chosen, by the title of the table

/* table("Runs", [{name, title, show(value, row), number, value(row), wrap}], rows,
         {open(row), key(row), chosen: Set, choose(row), sorted: "-name", sort(name), tools: [nodes], bare}) */
function table(title, columns, rows, options = {}) {
  const { open, key, sort, tools, bare } = options;
  const order = sort ? options.sorted : orders.get(title);
  const again = (name) => {
    const next = order === `-${name}` ? name : order === name || columns.find((c) => c.name === name).number !== true ? (order === name ? `-${name}` : name) : `-${name}`;
    if (sort) return sort(next);
    orders.set(title, next);
    node.replaceWith(table(title, columns, rows, options));
  };
  const shown = sort || !order ? rows : ordered(columns, rows, order);
  const body = el("table", { "aria-label": title },
    el("thead", {}, el("tr", {}, options.choose ? el("th", {}, "") : null, columns.map((one) => heading(one, order, again)))),
    el("tbody", {}, shown.map((row) => line(row, columns, options))));
  const save = () => download(`${fileName(title)}.csv`, csv([columns.map((one) => one.title ?? one.name), ...shown.map((row) => columns.map((one) => valueOf(one, row)))]), "text/csv");
  const node = el("section", { class: "table", "data-table": title },
    bare ? null : el("div", { class: "tools" }, el("h3", {}, title), tools, el("span", { class: "export" }, el("button", { class: "plain", type: "button", title: "Save the table", onclick: save }, "CSV"))),
    el("div", { class: "scroll" }, body));
  return node;
}

const valueOf = (column, row) => (column.value ? column.value(row) : row[column.name]);

function ordered(columns, rows, order) {
  const column = columns.find((one) => one.name === order.replace(/^-/, ""));
  const sign = order.startsWith("-") ? -1 : 1;
  const rank = (a, b) => (missing(a) ? 1 : missing(b) ? -1 : sign * (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true })));
  return [...rows].sort((a, b) => rank(valueOf(column, a), valueOf(column, b)));
}

function heading(column, order, again) {
  const direction = order === column.name ? "ascending" : order === `-${column.name}` ? "descending" : null;
  const arrow = el("span", { class: "arrow", "aria-hidden": "true" }, direction === "ascending" ? "↑" : direction === "descending" ? "↓" : "");
  const title = column.title ?? column.name;
  return el("th", { class: column.number ? "n" : null, scope: "col", "aria-sort": direction },
    column.fixed ? title : el("button", { type: "button", "data-keep": `sort ${column.name}`, onclick: () => again(column.name) }, column.number ? arrow : null, title, column.number ? null : arrow));
}

function line(row, columns, { open, key, chosen: set, choose, mark }) {
  const id = key && key(row);
  const keys = (event) => event.key === "Enter" && event.target === event.currentTarget && open(row);
  const click = (event) => !event.target.closest("a, input, button") && !String(getSelection()) && open(row);
  return el("tr", { class: [open ? "link" : "", mark ? mark(row) : ""].join(" ").trim() || null, tabindex: open ? 0 : null, "data-keep": id ? `row ${id}` : null, "aria-selected": set ? String(set.has(id)) : null, onclick: open ? click : null, onkeydown: open ? keys : null },
    choose ? el("td", {}, el("input", { type: "checkbox", "aria-label": `Choose ${id}`, checked: set.has(id), "data-keep": `choose ${id}`, onchange: () => choose(row) })) : null,
    columns.map((one) => {
      const value = valueOf(one, row);
      const content = one.show ? one.show(value, row) : missing(value) ? NONE : one.number ? number(value) : plain(value);
      return el("td", { class: [one.number ? "n" : "", one.wrap ? "wrap" : "", one.mono ? "mono" : ""].join(" ").trim() || null, title: typeof content === "string" && content.length > 40 ? content : null }, content);
    }));
}
