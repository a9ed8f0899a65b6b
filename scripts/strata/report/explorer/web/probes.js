// What probes read, beside the lens, with the same fits on redrawn labels and the floors.

const READERS = ["lens", "probe"];
const NULL_BAND = "redrawn labels";
const FLOORS = {
  surface: { name: "surface features", line: { color: "#000", strokeDash: [1, 2] } },
  order: { name: "order of the choices", line: { color: "#8a6d3b", strokeDash: [6, 2] } },
};

views.probes = {
  title: "Probes",
  about: "Probes beside the lens, with redrawn labels and floors",
  there: () => holds("tables/probes.csv"),
  async show(section) {
    const controls = bar();
    section.append(el("h1", {}, "Lens and probe"), controls);
    const rows = where(await table("probes"), { target: "correct" });
    const tasks = distinct(rows, "task", Object.keys(study.labels.tasks));
    const task = choose(
      controls,
      "task",
      "Task",
      [[ALL, "All tasks"], ...tasks.map((name) => [name, taskLabel(name)])],
      tasks.length > 1 ? ALL : tasks[0],
    );
    const models = distinct(rows, "model", Object.keys(study.labels.models));
    const model =
      task === ALL
        ? choose(
            controls,
            "model",
            "Model",
            models.map((name) => [name, modelLabel(name)]),
            models.at(-1),
          )
        : chooseModel(controls);
    const probes = distinct(rows, "probe", Object.keys(study.words.probes));
    const probe = choose(
      controls,
      "probe",
      "Probe",
      probes.map((name) => [name, capital(study.words.probes[name] ?? name)]),
      study.report.probe,
    );
    const names = distinct(where(rows, { probe }), "metric");
    const metric = choose(
      controls,
      "metric",
      "Metric",
      names.map((name) => [name, metricLabel(name)]),
      study.report.metric,
    );
    const lens = chooseLens(controls),
      fit = chooseScale(controls) === "fit";
    section.append(readerLegend());
    const panels = el("div.panels");
    section.append(panels);
    const pairs = (task === ALL ? tasks : [task]).flatMap((one) =>
      (model === ALL ? models : [model]).map((own) => [one, own]),
    );
    for (const [one, own] of pairs) {
      const mine = where(rows, { task: one, model: own, probe, metric });
      if (!mine.length) continue;
      const seen = where(await metrics([own], one), { subtask: "all", lens, metric });
      const place = panel(
        panels,
        pairs.length > 1 && task !== ALL ? modelLabel(own) : taskLabel(one),
        `n = ${mine[0].n}`,
      );
      await plot(place, "", probeSpec(seen, mine, fit), { columns: PROBE_COLUMNS, rows: mine });
    }
    section.append(
      note(
        `${metricLabel(metric)}. The grey band is what the same fits reach on labels that mean nothing; a probe that stays in it reads nothing. Floors: the same probe on what no model sees. Blank where a probe is not defined.`,
      ),
    );
    if ((await table("probes")).some((row) => row.target !== "correct"))
      section.append(
        folded("What a calculation’s prompt holds (result, first digit, operation)", () =>
          this.readout(),
        ),
      );
  },
  readout() {
    const place = el("div");
    table("probes").then((rows) =>
      place.append(
        grid(
          PROBE_COLUMNS,
          rows.filter((row) => row.target !== "correct" && row.labels === "true"),
          "Read off the prompt’s end and off its text",
        ),
      ),
    );
    return place;
  },
};

const PROBE_COLUMNS = [
  ["Model", (row) => modelLabel(row.model)],
  ["Task", (row) => taskLabel(row.task)],
  ["Features", (row) => row.features],
  ["Target", (row) => row.target],
  ["Labels", (row) => row.labels],
  ["Layer", (row) => row.layer ?? NOTHING, true],
  ["Metric", (row) => metricLabel(row.metric)],
  ["Value", (row) => percent(row.value), true],
  ["95 % interval", (row) => interval(row.ci_low, row.ci_high), true],
  ["p", (row) => number(row.p, 3), true],
  ["Note", (row) => row.note || ""],
];

const readerLegend = () =>
  el(
    "div.legends",
    {},
    legend(READERS.map((name, place) => [place, name])),
    el(
      "ul.legend",
      {},
      el("li", {}, el("span.null", { "aria-hidden": "true" }), NULL_BAND),
      Object.entries(FLOORS).map(([features, floor]) =>
        el("li", {}, el(`span.floor.${features}`, { "aria-hidden": "true" }), floor.name),
      ),
      el("li", {}, el("span.floor.chance", { "aria-hidden": "true" }), "chance"),
    ),
  );

function probeSpec(seen, rows, fit) {
  const [probe, redrawn] = ["true", "redrawn"].map((labels) =>
    where(rows, { features: "residual", labels }),
  );
  const data = [seen, probe].flatMap((own, place) => curveRows(own, "layer", () => place));
  const floors = Object.keys(FLOORS)
    .map((features) => pick(rows, { features, labels: "true" }))
    .filter((own) => own && known(own.value));
  const spec = curveSpec(data, {
    labels: READERS.map(capital),
    level: rows[0].chance,
    fit,
    height: 170,
    band: curveRows(redrawn, "layer"),
    bandName: capital(NULL_BAND),
    also: Object.fromEntries(
      floors.map((own) => [
        capital(FLOORS[own.features].name),
        estimate(own.value, own.ci_low, own.ci_high),
      ]),
    ),
  });
  const lines = floors.map((own) => ({
    data: { values: [{ level: own.value }] },
    mark: { type: "rule", strokeWidth: 1.4, ...FLOORS[own.features].line },
    encoding: { y: { field: "level", type: "quantitative" } },
  }));
  return { ...spec, layer: [...lines, ...spec.layer] };
}
