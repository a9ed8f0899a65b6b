// By which layer answers settle, and where each task rises.

const SETTLING = {
  settled: "Settled",
  agreement: "Agreement with the last layer",
  brier: "Brier score",
  entropy: "Entropy",
  divergence: "Divergence from the last layer (nats)",
  calibration: "Calibration error",
};
const IN_SHARES = new Set(["settled", "agreement", "entropy", "calibration"]);

views.settling = {
  title: "Settling",
  about: "By which layer answers settle, how sure they are, and where each task rises",
  there: () => holds("tables/settling.csv"),
  async show(section) {
    const controls = bar();
    section.append(el("h1", {}, "Where answers settle"), controls);
    const rows = await table("settling");
    const measure = choose(controls, "measure", "Measure", Object.entries(SETTLING));
    const model = chooseModel(controls),
      models = chosenModels(model);
    const lens = chooseLens(controls, distinct(rows, "lens", Object.keys(study.lenses)));
    const across = chooseX(controls);
    const own = where(rows, { lens }).filter((row) => models.includes(row.model));
    const names = measure === "settled" ? ["settled", "ci_low", "ci_high"] : [measure, "", ""];
    const share = IN_SHARES.has(measure);
    const most = Math.max(...own.map((row) => row[measure] ?? 0));
    const axis = share ? PERCENT_AXIS : { format: ".1f", tickCount: 4 };
    const panels = el("div.panels");
    section.append(modelLegend(models), panels);
    for (const task of distinct(own, "task", Object.keys(study.labels.tasks))) {
      const mine = where(own, { task });
      const place = panel(panels, taskLabel(task), `n = ${mine[0].n}`);
      const spec = curveSpec(curveRows(mine, across, undefined, names), {
        labels: modelLabels(),
        title: across === "depth" ? "Depth" : "Layer",
        axis,
        yScale: share ? undefined : { domain: [0, most], nice: true },
        say: share ? percent : number,
      });
      await plot(place, "", spec, {
        columns: [
          ["Model", (row) => modelLabel(row.model)],
          ["Layer", (row) => row.layer, true],
          [SETTLING[measure], (row) => (share ? percent : number)(row[measure]), true],
        ],
        rows: mine,
      });
    }
    section.append(note(SAID[measure]));
    if (holds("tables/emergence.csv")) await this.emergence(section, models);
  },
  async emergence(section, models) {
    const rows = (await table("emergence")).filter((row) => models.includes(row.model));
    const readers = distinct(rows, "reader");
    section.append(el("h2", {}, "Where each task has half of its rise"));
    const columns = [
      ["Task", (row) => taskLabel(row.task)],
      ["Model", (row) => modelLabel(row.model)],
      ["Reader", (row) => row.reader],
      [
        "Layer",
        (row) => (known(row.layer) ? `${number(row.layer, 1)} of ${row.layers}` : "does not rise"),
        true,
      ],
      [
        "95 % interval",
        (row) => interval(row.ci_low, row.ci_high, (value) => number(value, 1)),
        true,
      ],
      ["Rise", (row) => percent(row.height), true],
    ];
    const panels = el("div.panels.wide");
    section.append(panels);
    for (const reader of readers) {
      const own = where(rows, { reader }).filter((row) => known(row.layer));
      const place = panel(
        panels,
        study.lenses[reader] ? lensLabel(reader) : capital(study.words.probes[reader] ?? reader),
      );
      if (own.length)
        await plot(place, "", riseSpec(own, place.clientWidth), { columns, rows: where(rows, { reader }) });
      else place.append(note("Nothing rises above its baseline."));
    }
  },
};

const SAID = {
  settled: "The share of items whose answer no later layer changes, with 95 % intervals.",
  agreement: "The share of items whose answer is the last layer’s.",
  brier:
    "Squared distance of the choices’ probabilities to certainty of the truth: 0 is perfect, 2 the worst.",
  entropy: "Of the choices’ probabilities, as a share of that of choices held equally likely.",
  divergence: "What the last layer’s answers cost in this layer’s terms.",
  calibration: "How far the probability of the likeliest choice is from how often it is true.",
};

/** Where each task has half of its rise, on relative depth. */
function riseSpec(rows, room) {
  const places = distinct(
    rows.map((row) => ({ place: modelPlace(row.model) })),
    "place",
  ).sort((a, b) => a - b);
  const data = rows.map((row) => ({
    line: inLines(taskLabel(row.task), room),
    series: modelPlace(row.model),
    value: row.layer / row.layers,
    low: known(row.ci_low) ? row.ci_low / row.layers : null,
    high: known(row.ci_high) ? row.ci_high / row.layers : null,
    tip: {
      [modelLabel(row.model)]: estimate(row.layer, row.ci_low, row.ci_high, (value) =>
        number(value, 1),
      ),
      Task: taskLabel(row.task),
      Layers: String(row.layers),
      Rise: percent(row.height),
    },
  }));
  const lines = distinct(data, "line");
  const x = {
    type: "quantitative",
    title: "Relative depth",
    scale: { domain: [0, 1] },
    axis: { ...PERCENT_AXIS, grid: true },
  };
  const y = {
    field: "line",
    type: "nominal",
    title: null,
    scale: { domain: lines, paddingInner: 0.3 },
    axis: LINES_AXIS,
  };
  const offset = { field: "series", type: "nominal", scale: { domain: places } },
    color = byLook(places, "color");
  return {
    height: lines.length * Math.max(11 * places.length + 10, tallest(lines)),
    data: { values: data },
    encoding: { y, tooltip: { field: "tip" } },
    layer: [
      {
        mark: { type: "rule", strokeWidth: 1.6 },
        encoding: { x: { ...x, field: "low" }, x2: { field: "high" }, yOffset: offset, color },
      },
      {
        mark: { type: "point", filled: true, opacity: 1, size: 46 },
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
