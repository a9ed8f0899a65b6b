// What the study finds: a sentence a verdict, with the tests that it stands on.

const SIGNS = {
  supported: "✓",
  contradicted: "✗",
  undecided: "?",
  "not testable here": "–",
  matters: "!",
  negligible: "≈",
};

views.findings = {
  title: "Findings",
  about: "The claims tested, with their verdicts",
  there: () => true,
  async show(section, asked) {
    const { models, tasks } = study.labels;
    section.append(el("h1", {}, "What each layer of each size knows"));
    section.append(
      el(
        "p.lead",
        {},
        `${plural(Object.keys(models).length, "model")} (${shortList(Object.values(models))}) on ${plural(Object.keys(tasks).length, "task")}, ` +
          `read through the ${study.lenses[study.report.lens]} at every layer` +
          `${study.labels.layers ? ` (${study.labels.layers})` : ""}.`,
      ),
    );
    const found = study.findings;
    if (!found.length) {
      section.append(
        note(
          "This study tests no claims. ",
          el("a", { href: "#curves" }, "Its curves"),
          " show every task layer by layer.",
        ),
      );
      return;
    }
    section.append(tally(found));
    const rows = await table("findings");
    const controls = bar();
    section.append(controls);
    const kinds = distinct(found, "verdict", Object.keys(SIGNS));
    const kind = choose(controls, "verdict", "Verdicts", [
      [ALL, "All"],
      ...kinds.map((name) => [name, capital(name)]),
    ]);
    const wanted = found.filter((one) => kind === ALL || one.verdict === kind);
    const tested = wanted.filter((own) =>
      rows.some((row) => row.claim === own.claim && known(row.value)),
    );
    for (const own of tested) section.append(findingCard(own, rows, asked.claim === own.claim));
    const rest = wanted.filter((own) => !tested.includes(own));
    if (rest.length)
      section.append(
        el("h2", {}, "Not testable here"),
        el(
          "ul.rest",
          {},
          rest.map((own) =>
            el("li", { id: `claim-${own.claim}` }, el("b", {}, own.title), ` – ${own.sentence}`),
          ),
        ),
      );
    section.append(
      note(
        "Each dot is one test with its interval; the tick is the threshold that it is held against. Filled: the test itself decides. docs/findings.md states every claim and the reasons for its statistic.",
      ),
    );
  },
};

const shortList = (words) =>
  words.length > 6
    ? `${words.slice(0, 5).join(", ")} and ${words.length - 5} more`
    : words.join(", ");

function tally(found) {
  const kinds = distinct(found, "verdict", Object.keys(SIGNS));
  return el(
    "ul.tally",
    {},
    kinds.map((kind) =>
      el(
        "li",
        {},
        el(
          "a",
          { href: link("findings", { verdict: kind }) },
          el("b", {}, String(where(found, { verdict: kind }).length)),
          ` ${kind}`,
        ),
      ),
    ),
  );
}

const badge = (verdict) =>
  el(
    `span.verdict.${verdict.split(" ")[0]}`,
    {},
    el("span", { "aria-hidden": "true" }, SIGNS[verdict] ?? "·"),
    ` ${verdict}`,
  );

function findingCard(own, rows, opened) {
  const mine = rows.filter((row) => row.claim === own.claim && known(row.value));
  const lens = mine.some((row) => row.lens === study.report.lens)
    ? study.report.lens
    : mine[0]?.lens;
  const tests = where(mine, { lens });
  const chart = el("div.tests");
  const card = el(
    "article.finding",
    { id: `claim-${own.claim}`, class: opened ? "finding opened" : "finding" },
    el(
      "div",
      {},
      el("h2", {}, el("a", { href: link("findings", { claim: own.claim }) }, own.title)),
      el("p", {}, badge(own.verdict)),
      el("p.says", {}, `“${capital(own.says)}.”`),
      el("p", {}, own.sentence),
    ),
    chart,
  );
  if (tests.length)
    whenSeen(chart, () => plot(chart, "", testSpec(tests, own.both, chart.clientWidth), { columns: TEST_COLUMNS, rows: tests }));
  return card;
}

const TEST_COLUMNS = [
  ["Task", (row) => taskLabel(row.task)],
  ["Models and layers", testLabel],
  ["Difference", (row) => estimate(row.value, row.ci_low, row.ci_high), true],
  ["Threshold", (row) => percent(row.threshold), true],
  ["Finds", (row) => percent(row.least), true],
  ["n", (row) => row.n, true],
  ["Verdict", (row) => row.verdict],
];

function testLabel(row) {
  const models = [row.model, row.against]
    .filter((name) => name in study.labels.models)
    .map(modelLabel);
  return `${models.join(" against ")}, ${row.layers}`;
}

/** Every test of a claim: its difference with its interval, and the threshold, which holds on both
 * sides of zero where `both` says so. */
function testSpec(rows, both, room) {
  const one = distinct(rows, "model").length === 1;
  const short = (row) => taskLabel(row.task) + (one ? "" : ` · ${modelLabel(row.model)}`);
  const names = rows.map(short);
  const data = rows.map((row, place) => {
    const alone = names.indexOf(names[place]) === names.lastIndexOf(names[place]);
    return {
      line: inLines(alone ? names[place] : `${names[place]}, ${row.layers}`, room),
      value: row.value,
      low: row.ci_low,
      high: row.ci_high,
      threshold: row.threshold,
      below: both ? -row.threshold : null,
      decided: row.verdict !== "undecided",
      tip: {
        Task: taskLabel(row.task),
        Where: testLabel(row),
        Difference: `${estimate(row.value, row.ci_low, row.ci_high)} points`,
        Threshold: (both ? "±" : "") + percent(row.threshold),
        Test: row.verdict,
      },
    };
  });
  const x = {
    type: "quantitative",
    title: "Difference (percentage points)",
    axis: {
      labelExpr: "datum.value ? format(100 * datum.value, '+.0f') : '0'",
      tickCount: 5,
      grid: true,
    },
  };
  const y = {
    field: "line",
    type: "nominal",
    title: null,
    scale: { domain: data.map((row) => row.line) },
    axis: LINES_AXIS,
  };
  return {
    height: tallest(data.map((row) => row.line)) * data.length,
    data: { values: data },
    encoding: { y, tooltip: { field: "tip" } },
    layer: [
      {
        data: { values: [{ zero: 0 }] },
        mark: { type: "rule", color: "#b8bec6" },
        encoding: { x: { ...x, field: "zero" }, y: null, tooltip: null },
      },
      {
        mark: { type: "tick", color: "#D55E00", thickness: 1.6, bandSize: 13 },
        encoding: { x: { ...x, field: "threshold" } },
      },
      ...(both
        ? [
            {
              mark: { type: "tick", color: "#D55E00", thickness: 1.6, bandSize: 13 },
              encoding: { x: { ...x, field: "below" } },
            },
          ]
        : []),
      {
        mark: { type: "rule", color: INK, strokeWidth: 1.2 },
        encoding: { x: { ...x, field: "low" }, x2: { field: "high" } },
      },
      {
        mark: { type: "point", filled: true, opacity: 1, size: 44, stroke: INK, strokeWidth: 1.2 },
        encoding: {
          x: { ...x, field: "value" },
          fill: { condition: { test: "datum.decided", value: INK }, value: "white" },
        },
      },
    ],
  };
}

/** Draws when it comes into sight: the first ones are there at once. */
function whenSeen(element, make) {
  const watch = new IntersectionObserver(
    (entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      watch.disconnect();
      make();
    },
    { rootMargin: "400px" },
  );
  watch.observe(element);
}
