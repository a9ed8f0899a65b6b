// A task layer by layer.

function chosenModels(chosen) {
  return chosen === ALL ? Object.keys(study.labels.models).filter(compared) : [chosen];
}
/** Of a training run its last checkpoint alone stands beside other models. */
function compared(model) {
  const own = study.training[model];
  return (
    !own ||
    Object.entries(study.training)
      .filter(([, other]) => other.run === own.run)
      .at(-1)[0] === model
  );
}

function chooseModel(bar, every = "All models") {
  const options = Object.entries(study.labels.models);
  const all = every && options.length > 1 ? [[ALL, every]] : [];
  return choose(bar, "model", "Model", [...all, ...options]);
}

const chooseX = (bar) =>
  choose(bar, "x", "Across", [
    ["layer", "layers"],
    ["depth", "relative depth"],
  ]);
const chooseScale = (bar) =>
  choose(bar, "scale", "Scale", [
    ["whole", "0 to 100 %"],
    ["fit", "fitted"],
  ]);

/** Rows of a csv as those of a curve. */
function curveRows(
  rows,
  across,
  series = (row) => modelPlace(row.model),
  names = ["value", "ci_low", "ci_high"],
) {
  return rows
    .filter((row) => known(row.layer))
    .map((row) => ({
      x: across === "depth" ? row.layer / study.models[row.model].layers : row.layer,
      value: row[names[0]],
      low: row[names[1]],
      high: row[names[2]],
      series: series(row),
    }))
    .filter((row) => known(row.value));
}

/** The metric of the same choices without the question, where a metric has such a one. */
const blindOf = (metric) => study.words.blind[metric];
const blindSaid = (metric) =>
  blindOf(metric) ? "; dotted and faint: the same choices without the question" : "";

const modelEntries = (models) => models.map((model) => [modelPlace(model), modelLabel(model)]);
const modelLabels = () => Object.values(study.labels.models);
const modelLegend = (models) => legend(modelEntries(models));

views.curves = {
  title: "Curves",
  about: "Accuracy layer by layer, of every task, part, lens and metric",
  there: () => true,
  async show(section) {
    const controls = bar();
    const tasks = Object.keys(study.labels.tasks);
    section.append(el("h1", {}, "Layer by layer"), controls);
    const task = choose(
      controls,
      "task",
      "Task",
      [[ALL, "All tasks"], ...Object.entries(study.labels.tasks)],
      tasks.length === 1 ? tasks[0] : ALL,
    );
    const model = chooseModel(controls);
    const models = chosenModels(model);
    if (task === ALL) return this.every(section, controls, tasks, models);
    return this.one(section, controls, task, models);
  },

  async every(section, controls, tasks, models) {
    const found = Object.fromEntries(
      await Promise.all(
        tasks.map(async (task) => [task, where(await metrics(models, task), { subtask: "all" })]),
      ),
    );
    const rows = Object.values(found).flat();
    const lens = chooseLens(controls),
      metric = chooseMetric(controls, distinct(rows, "metric"));
    const across = chooseX(controls),
      fit = chooseScale(controls) === "fit";
    section.append(modelLegend(models));
    const panels = el("div.panels");
    section.append(panels);
    for (const task of tasks) {
      const own = where(found[task], { lens, metric });
      if (!own.length) continue;
      const place = panel(
        panels,
        el("a", { href: link("curves", { ...address().asked, task }) }, taskLabel(task)),
        `n = ${own[0].n}`,
      );
      await plot(
        place,
        "",
        curveSpec(curveRows(own, across), {
          labels: modelLabels(),
          level: own[0].chance,
          title: across === "depth" ? "Depth" : "Layer",
          fit,
          faint: curveRows(where(found[task], { lens, metric: blindOf(metric) }), across),
        }),
        { columns: VALUE_COLUMNS, rows: own },
      );
    }
    section.append(
      note(
        `${metricLabel(metric)} by the ${study.lenses[lens]}, with 95 % intervals${blindSaid(metric)}; dashed: chance. Open a task for its numbers.`,
      ),
    );
  },

  async one(section, controls, task, models) {
    const rows = await metrics(models, task);
    const parts = distinct(rows, "subtask");
    const part = choose(
      controls,
      "part",
      "Part",
      parts.map((name) => [name, partLabel(name)]),
      "all",
    );
    const every = Object.keys(study.lenses).length > 1 ? [["every", "All lenses"]] : [];
    const lens = choose(
      controls,
      "lens",
      "Lens",
      [...Object.keys(study.lenses).map((name) => [name, lensLabel(name)]), ...every],
      study.report.lens,
    );
    const metric = chooseMetric(controls, distinct(rows, "metric"));
    const across = chooseX(controls),
      fit = chooseScale(controls) === "fit";
    const whole = where(rows, { subtask: part }),
      own = where(whole, { metric });
    const deepest = Math.max(...models.map((model) => study.models[model].layers));
    const layer = slide(controls, "layer", "Layer", deepest, deepest);
    const title = `${taskLabel(task)}${part === "all" ? "" : `, ${partLabel(part)}`}: ${metricLabel(metric)}`;
    const at = (model) => upTo(distinct(where(own, { model }), "layer"), layer);
    const mark = (model) =>
      across === "depth" ? at(model) / study.models[model].layers : at(model);
    const options = {
      level: own[0]?.chance,
      title: across === "depth" ? "Depth" : "Layer",
      fit,
      height: 320,
    };
    if (lens === "every") {
      const panels = el("div.panels.wide");
      section.append(
        legend(Object.keys(study.lenses).map((name, place) => [place, lensLabel(name)])),
        panels,
      );
      const names = Object.keys(study.lenses);
      for (const model of models) {
        const place = panel(panels, modelLabel(model));
        await plot(
          place,
          "",
          curveSpec(
            curveRows(where(own, { model }), across, (row) => names.indexOf(row.lens)),
            { ...options, height: 220, labels: names.map(lensLabel), at: mark(model) },
          ),
        );
      }
    } else {
      section.append(modelLegend(models));
      await plot(
        section,
        `${title}, ${study.lenses[lens]}`,
        curveSpec(curveRows(where(own, { lens }), across), {
          ...options,
          labels: modelLabels(),
          faint: curveRows(where(whole, { lens, metric: blindOf(metric) }), across),
          at: models.length === 1 || across === "layer" ? Math.max(...models.map(mark)) : null,
        }),
      );
    }
    const shown = own.filter(
      (row) => row.layer === at(row.model) && (lens === "every" || row.lens === lens),
    );
    section.append(
      el(
        "h2",
        {},
        `At layer ${layer}`,
        models.some((model) => at(model) < layer)
          ? ", or the last below it of a model that has not been looked at there"
          : "",
      ),
      valuesTable(shown),
    );
    const all = own.filter((row) => lens === "every" || row.lens === lens);
    section.append(folded("Every layer", () => valuesTable(all)));
    section.append(
      note(
        `Values in % with 95 % intervals, clustered by group${lens === "every" ? "" : blindSaid(metric)}; dashed: chance; ties: how often the best true choice and its strongest rival have the same score.`,
      ),
    );
  },
};

const VALUE_COLUMNS = [
  ["Model", (row) => modelLabel(row.model)],
  ["Lens", (row) => lensLabel(row.lens)],
  ["Layer", (row) => row.layer, true],
  ["Value", (row) => percent(row.value), true],
  ["95 % interval", (row) => interval(row.ci_low, row.ci_high), true],
  ["n", (row) => row.n, true],
  ["Chance", (row) => percent(row.chance), true],
  ["Ties", (row) => percent(row.tie_rate), true],
];

/** Rows of metrics as a table. */
const valuesTable = (rows) => grid(VALUE_COLUMNS, rows, "Values");
