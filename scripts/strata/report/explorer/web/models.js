// Models side by side.

views.models = {
  title: "Models",
  about: "Models side by side, at the last and at the best layer",
  there: () => holds("tables/overall.csv"),
  async show(section) {
    const controls = bar();
    section.append(el("h1", {}, "Models side by side"), controls);
    const rows = await table("overall");
    const lens = chooseLens(controls),
      metric = chooseMetric(controls, distinct(rows, "metric"));
    const which = choose(controls, "which", "At", [
      ["last", "the last layer"],
      ["best", "the best layer"],
    ]);
    const own = where(rows, { lens, metric, which });
    const models = distinct(own, "model", Object.keys(study.labels.models));
    section.append(modelLegend(models));
    const title = `${metricLabel(metric)} at the ${which} layer, ${study.lenses[lens]}`;
    await plot(section, title, dotSpec(own, models, section.clientWidth));
    if (new Set(models.map((model) => study.models[model].size)).size > 1)
      await this.sizes(section, own, models);
    const abilities = distinct(
      own.map((row) => ({ line: abilityLabel(row) })),
      "line",
    );
    const cell = (line, model) =>
      own.find((row) => row.model === model && abilityLabel(row) === line);
    section.append(
      el("h2", {}, "In numbers"),
      grid(
        [
          ["Task", (line) => line],
          ...models.map((model) => [
            modelLabel(model),
            (line) => {
              const row = cell(line, model);
              return row
                ? `${estimate(row.value, row.ci_low, row.ci_high)}${which === "best" ? ` at ${row.layer}` : ""}`
                : NOTHING;
            },
            true,
          ]),
          ["Chance", (line) => percent(own.find((row) => abilityLabel(row) === line).chance), true],
          ["n", (line) => own.find((row) => abilityLabel(row) === line).n, true],
        ],
        abilities,
        title,
      ),
    );
    section.append(
      note(
        which === "best"
          ? "What a best layer is worth is measured on items that did not choose it."
          : "Values in % with 95 % intervals; the tick is chance.",
      ),
    );
    if (holds("tables/scaling.csv"))
      section.append(
        folded("How the odds of a right answer grow with size", () => this.scaling(lens, metric)),
      );
    section.append(
      el("h2", {}, "The models"),
      grid(
        [
          ["Model", ([name]) => modelLabel(name)],
          ["Family", ([, own]) => own.architecture],
          ["Layers", ([, own]) => own.layers, true],
          ["Width", ([, own]) => own.d_model, true],
          [capital(study.sized), ([, own]) => own.size.toLocaleString("en"), true],
          ["Context", ([, own]) => own.context ?? NOTHING, true],
          ["Revision", ([, own]) => (own.revision ?? "").slice(0, 15)],
        ],
        Object.entries(study.models),
        "The models of the study",
      ),
    );
  },
  async sizes(section, rows, models) {
    const panels = el("div.panels");
    section.append(el("h2", {}, "Against size"), panels);
    for (const line of distinct(
      rows.map((row) => ({ line: abilityLabel(row) })),
      "line",
    )) {
      const place = panel(panels, line);
      await plot(
        place,
        "",
        sizeSpec(
          rows.filter((row) => abilityLabel(row) === line),
          models,
        ),
      );
    }
  },
  scaling(lens, metric) {
    const place = el("div");
    table("scaling").then((rows) =>
      place.append(
        grid(
          [
            ["Task", (row) => taskLabel(row.task)],
            ["Depth", (row) => percent(row.depth), true],
            [
              "Log odds a doubling",
              (row) => estimate(row.value, row.ci_low, row.ci_high, number),
              true,
            ],
            ["p", (row) => number(row.p, 3), true],
            ["Note", (row) => row.note || ""],
          ],
          where(rows, { lens, metric }),
          "Scaling: the slope of the log odds a doubling of size",
        ),
      ),
    );
    return place;
  },
};

const abilityLabel = (row) =>
  taskLabel(row.task) +
  (known(row.subtask) && row.subtask !== "all" ? `, ${partLabel(row.subtask)}` : "");

const modelTip = (row) => ({
  [modelLabel(row.model)]: estimate(row.value, row.ci_low, row.ci_high),
  Task: abilityLabel(row),
  Layer: `${row.layer} of ${row.layers}`,
  Chance: percent(row.chance),
});

// Three digits from 100 on, else two, as the size sheet has them: 61k, 206k, 1.1M, 6.7B.
const SHORT_SIZE =
  "replace(format(datum.value, datum.value / pow(1000, floor(log(datum.value) / log(1000))) < 99.5 ? '.2~s' : '.3~s'), 'G', 'B')";

// By which part of a factor of ten marks of one size stand apart, as on the size sheet.
const APART = 0.05;

/** Where a model stands on the axis of sizes: those of one size, side by side. */
function besideOthers(model, models) {
  const { size } = study.models[model],
    alike = models.filter((other) => study.models[other].size === size);
  return size * 10 ** (APART * (alike.indexOf(model) - (alike.length - 1) / 2));
}

/** One ability against the size of the models that have it. */
function sizeSpec(rows, models) {
  const data = rows.map((row) => ({
    size: study.models[row.model].size,
    at: besideOthers(row.model, models),
    series: modelPlace(row.model),
    value: row.value,
    low: row.ci_low,
    high: row.ci_high,
    tip: modelTip(row),
  }));
  const places = models.map(modelPlace),
    color = byLook(places, "color");
  const x = {
    field: "at",
    type: "quantitative",
    title: capital(study.sized),
    scale: { type: "log", nice: false, padding: 14 },
    axis: { labelExpr: SHORT_SIZE, values: distinct(data, "size") },
  };
  const y = { type: "quantitative", title: null, scale: { domain: [0, 1] }, axis: PERCENT_AXIS };
  return {
    height: 130,
    data: { values: data },
    encoding: { x },
    layer: [
      {
        data: { values: [{ chance: rows[0].chance }] },
        mark: { type: "rule", color: SOFT, strokeDash: [3, 3] },
        encoding: { x: null, y: { ...y, field: "chance" } },
      },
      ...(distinct(data, "size").length === data.length
        ? [
            {
              mark: { type: "line", color: "#9aa3ad", strokeWidth: 1 },
              encoding: { y: { ...y, field: "value" } },
            },
          ]
        : []),
      {
        mark: { type: "rule", strokeWidth: 1.6 },
        encoding: { y: { ...y, field: "low" }, y2: { field: "high" }, color },
      },
      {
        mark: { type: "point", filled: true, opacity: 1, size: 56 },
        encoding: {
          y: { ...y, field: "value" },
          color,
          shape: byLook(places, "shape"),
          tooltip: { field: "tip" },
        },
      },
    ],
  };
}

/** A line an ability, a dot with its interval a model, and a tick at chance. */
function dotSpec(rows, models, room) {
  const data = rows.map((row) => ({
    line: inLines(abilityLabel(row), room),
    series: modelPlace(row.model),
    value: row.value,
    low: row.ci_low,
    high: row.ci_high,
    chance: row.chance,
    tip: modelTip(row),
  }));
  const lines = distinct(data, "line");
  const places = models.map(modelPlace);
  const x = {
    type: "quantitative",
    title: null,
    scale: { domain: [0, 1] },
    axis: { ...PERCENT_AXIS, grid: true, orient: "top" },
  };
  const offset = { field: "series", type: "nominal", scale: { domain: places } };
  const y = {
    field: "line",
    type: "nominal",
    title: null,
    scale: { domain: lines, paddingInner: 0.25 },
    axis: LINES_AXIS,
  };
  const color = byLook(places, "color");
  return {
    height: lines.length * Math.max(12 * models.length + 10, tallest(lines)),
    data: { values: data },
    encoding: { y, tooltip: { field: "tip" } },
    layer: [
      {
        mark: { type: "tick", thickness: 1, color: SOFT, bandSize: 12 * models.length },
        encoding: { x: { ...x, field: "chance" } },
      },
      {
        mark: { type: "rule", strokeWidth: 1.6 },
        encoding: { x: { ...x, field: "low" }, x2: { field: "high" }, yOffset: offset, color },
      },
      {
        mark: { type: "point", filled: true, opacity: 1, size: 52 },
        encoding: {
          x: { ...x, field: "value" },
          yOffset: offset,
          color,
          shape: byLook(places, "shape"),
        },
      },
    ],
  };
}
