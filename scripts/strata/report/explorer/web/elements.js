// Elements of the page, its views and its address. Text of the study goes in as text, never as markup.

/** An element with attributes (functions are listeners) and children. */
function el(tag, attributes = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const made = document.createElement(name);
  if (classes.length) made.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(key, value);
    else if (value !== false && value !== undefined && value !== null)
      made.setAttribute(key, value === true ? "" : value);
  }
  made.append(
    ...children.flat().filter((child) => child !== null && child !== undefined && child !== ""),
  );
  return made;
}

/** A new panel of `panels` under its title; `aside` stands small behind that. */
function panel(panels, title, aside) {
  const heading = aside ? [title, " ", el("small", {}, aside)] : [title];
  const made = el("section.panel", {}, el("h2", {}, ...heading));
  panels.append(made);
  return made;
}

const ALL = ""; // of a choice: everything

// By name: title, what it is for, whether the study has it, and how it is shown.
const views = {};

/** The view and what of it the address asks for. */
function address() {
  const [view, query = ""] = location.hash.slice(1).split("?");
  return {
    view: views[view]?.there() ? view : "findings",
    asked: Object.fromEntries(new URLSearchParams(query)),
  };
}

function link(view, asked = {}) {
  const query = new URLSearchParams(Object.entries(asked).filter(([, value]) => known(value)));
  return `#${view}${String(query) && `?${query}`}`;
}

/** Asks for something else of the view that is shown. */
function ask(change, replace = false) {
  const { view, asked } = address();
  const hash = link(view, { ...asked, ...change });
  if (!replace) location.hash = hash;
  else {
    history.replaceState(null, "", hash);
    dispatchEvent(new HashChangeEvent("hashchange"));
  }
}

/** A choice of one of several, in the address under `key`. options: [value, text]. Returns what is
 * chosen: what is asked for if there is such a one, else `otherwise`, else the first. */
function choose(bar, key, label, options, otherwise = undefined) {
  const values = options.map(([value]) => value);
  const wanted = address().asked[key];
  const chosen = values.includes(wanted)
    ? wanted
    : values.includes(otherwise)
      ? otherwise
      : values[0];
  const choice = el(
    "select",
    { "data-key": key, change: (event) => ask({ [key]: event.target.value }) },
    options.map(([value, text]) => el("option", { value, selected: value === chosen }, text)),
  );
  if (options.length > 1) bar.append(el("label.control", {}, el("span", {}, label), choice));
  return chosen;
}

const chooseLens = (bar, lenses = Object.keys(study.lenses)) =>
  choose(
    bar,
    "lens",
    "Lens",
    lenses.map((name) => [name, lensLabel(name)]),
    study.report.lens,
  );
const chooseMetric = (bar, found) => {
  const names = Object.keys(study.words.metrics).filter((name) => found.includes(name));
  return choose(
    bar,
    "metric",
    "Metric",
    names.map((name) => [name, metricLabel(name)]),
    study.report.metric,
  );
};

/** A number to slide to, in the address under `key`; null where none is asked for. */
function slide(bar, key, label, most, otherwise, say = String) {
  const asked = Number.parseInt(address().asked[key], 10);
  const chosen = asked >= 0 && asked <= most ? asked : otherwise;
  const output = el("output", {}, say(chosen));
  bar.append(
    el(
      "label.control.slider",
      {},
      el("span", {}, label, " ", output),
      el("input", {
        type: "range",
        min: 0,
        max: most,
        value: chosen,
        "data-key": key,
        input: (event) => {
          output.textContent = say(Number(event.target.value));
        },
        change: (event) => ask({ [key]: event.target.value }, true),
      }),
    ),
  );
  return chosen;
}

/** A table. columns: [heading, cell of a row, whether it is a number]. */
function grid(columns, rows, caption = "") {
  const head = columns.map(([title, , numeric]) =>
    el("th", { scope: "col", class: numeric ? "number" : false }, title),
  );
  const body = rows.map((row) =>
    el(
      "tr",
      {},
      columns.map(([, cell, numeric], place) => {
        const value = cell(row);
        return place
          ? el("td", { class: numeric ? "number" : false }, value)
          : el("th", { scope: "row" }, value);
      }),
    ),
  );
  return el(
    "div.scroll",
    { tabindex: 0, role: "region", "aria-label": caption || "Table" },
    el(
      "table",
      {},
      caption ? el("caption", {}, caption) : "",
      el("thead", {}, el("tr", {}, head)),
      el("tbody", {}, body),
    ),
  );
}

/** Something long, behind a line that opens it. */
function folded(summary, make) {
  const fold = el(
    "details",
    {
      toggle: () => {
        if (fold.open && fold.childElementCount === 1) fold.append(make());
      },
    },
    el("summary", {}, summary),
  );
  return fold;
}

/** Hands a file to the reader. */
function save(name, content, type) {
  const url = URL.createObjectURL(new Blob([content], { type }));
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

const button = (text, press, more = {}) =>
  el("button", { type: "button", click: press, ...more }, text);
const note = (...text) => el("p.note", {}, ...text);
const bar = () => el("div.bar", { role: "group", "aria-label": "What is shown" });
