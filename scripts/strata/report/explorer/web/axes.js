// The other axes of a study: from task to task, precisions, training steps, the paper's own numbers.

views.transfer = {
  title: "Transfer",
  about: "Probes fitted on one task and read on another",
  there: () => holds("tables/transfer.csv"),
  async show(section) {
    const controls = bar();
    section.append(el("h1", {}, "From task to task"), controls);
    const rows = await table("transfer");
    const models = chosenModels(chooseModel(controls));
    const which = choose(controls, "which", "At", [
      ["last", "the last layer"],
      ["best", "the best layer"],
    ]);
    const probes = distinct(rows, "probe", Object.keys(study.words.probes));
    const probe = choose(
      controls,
      "probe",
      "Probe",
      probes.map((name) => [name, capital(study.words.probes[name] ?? name)]),
      study.report.probe,
    );
    const metric = choose(
      controls,
      "metric",
      "Metric",
      distinct(rows, "metric").map((name) => [name, metricLabel(name)]),
      "auroc",
    );
    const own = where(rows, { which, probe, metric });
    const tasks = distinct(own, "test", Object.keys(study.labels.tasks));
    const panels = el("div.panels.wide");
    section.append(scaleBar([0, 1], "both"), panels);
    for (const model of models) {
      const mine = where(own, { model });
      if (!mine.length) continue;
      const place = panel(panels, modelLabel(model), `layer ${mine[0].layer}`);
      const names = unlike(tasks);
      const cells = mine.map((row) => ({
        x: names[row.test],
        y: names[row.train],
        value: row.value,
        tip: {
          "Fitted on": taskLabel(row.train),
          "Read on": taskLabel(row.test),
          [metricLabel(metric)]: estimate(row.value, row.ci_low, row.ci_high),
          Chance: percent(row.chance),
        },
      }));
      const spec = mapSpec(cells, {
        columns: tasks.map((task) => names[task]),
        lines: tasks.map((task) => names[task]),
        title: "Read on",
        lineTitle: "Fitted on",
        scheme: "redblue",
        room: place.clientWidth,
        step: 26,
      });
      Object.assign(spec.encoding.x.axis, { labelAngle: -40, labelOverlap: false });
      await plot(place, "", spec, {
        columns: [
          ["Fitted on", taskLabel],
          ...tasks.map((test) => [
            taskLabel(test),
            (train) => percent(pick(mine, { train, test })?.value),
            true,
          ]),
        ],
        rows: tasks,
      });
    }
    section.append(
      note(
        `${metricLabel(metric)} in % of the probe fitted on the task of a row, read on that of a column; white is near chance, blank where no probe is defined.`,
      ),
    );
  },
};

/** Labels of tasks, by their names where two have the same label. */
function unlike(tasks) {
  const labels = tasks.map(taskLabel);
  return Object.fromEntries(
    tasks.map((task, place) => [
      task,
      labels.indexOf(labels[place]) === labels.lastIndexOf(labels[place]) ? labels[place] : task,
    ]),
  );
}

views.precision = {
  title: "Precision",
  about: "What other precisions of a model cost",
  there: () => holds("tables/precision.csv"),
  async show(section) {
    const controls = bar();
    section.append(el("h1", {}, "What precision costs"), controls);
    const rows = await table("precision");
    const lens = chooseLens(controls, distinct(rows, "lens", Object.keys(study.lenses)));
    const metric = chooseMetric(controls, distinct(rows, "metric"));
    const across = chooseX(controls);
    const own = where(rows, { lens, metric });
    const models = distinct(own, "model", Object.keys(study.labels.models));
    section.append(modelLegend(models));
    const panels = el("div.panels");
    section.append(panels);
    const reach = Math.max(
      0.01,
      ...own.flatMap((row) => [
        Math.abs(row.ci_low ?? row.difference),
        Math.abs(row.ci_high ?? row.difference),
      ]),
    );
    for (const task of distinct(own, "task", Object.keys(study.labels.tasks))) {
      const mine = where(own, { task });
      const place = panel(panels, taskLabel(task), `n = ${mine[0].n}`);
      const spec = curveSpec(
        curveRows(mine, across, undefined, ["difference", "ci_low", "ci_high"]),
        {
          labels: modelLabels(),
          level: 0,
          levelName: "No change",
          title: across === "depth" ? "Depth" : "Layer",
          yScale: { domain: [-reach, reach], nice: true },
          axis: { format: "+.0%", tickCount: 5 },
        },
      );
      await plot(place, "", spec, {
        columns: [
          ["Model", (row) => modelLabel(row.model)],
          ["Of", (row) => modelLabel(row.base)],
          ["Layer", (row) => row.layer, true],
          ["Difference", (row) => estimate(row.difference, row.ci_low, row.ci_high), true],
          ["Answers changed", (row) => percent(row.flips), true],
          ["p (Holm)", (row) => number(row.p_holm, 3), true],
        ],
        rows: mine,
      });
    }
    section.append(
      note(
        `Difference in ${metricLabel(metric)} to the model it is a precision of, in percentage points with 95 % intervals, on the same items.`,
      ),
    );
  },
};

views.training = {
  title: "Training",
  about: "Checkpoints of training runs",
  there: () => holds("tables/training.csv"),
  async show(section) {
    const controls = bar();
    section.append(el("h1", {}, "Over training"), controls);
    const rows = await table("training");
    const lens = chooseLens(controls),
      metric = chooseMetric(controls, distinct(rows, "metric"));
    const which = choose(controls, "which", "At", [
      ["last", "the last layer"],
      ["best", "the best layer"],
    ]);
    const scale = choose(controls, "steps", "Steps", [
      ["symlog", "logarithmic"],
      ["linear", "linear"],
    ]);
    const own = where(rows, { lens, metric, which, subtask: "all" });
    const runs = distinct(own, "run");
    const labels = runs.map(
      (run) => Object.values(study.training).find((one) => one.run === run)?.label ?? run,
    );
    section.append(legend(labels.map((label, place) => [place, label])));
    const panels = el("div.panels");
    section.append(panels);
    for (const task of distinct(own, "task", Object.keys(study.labels.tasks))) {
      const mine = where(own, { task });
      const place = panel(panels, taskLabel(task), `n = ${mine[0].n}`);
      const data = mine.map((row) => ({
        x: row.step,
        value: row.value,
        low: row.ci_low,
        high: row.ci_high,
        series: runs.indexOf(row.run),
      }));
      const spec = curveSpec(data, {
        labels,
        level: mine[0].chance,
        title: "Step",
        xScale: { type: scale },
        xAxis: {
          format: undefined,
          values: distinct(data, "x"),
          labelExpr: "format(datum.value, '~s')",
          labelOverlap: "greedy",
        },
      });
      await plot(place, "", spec, {
        columns: [
          ["Run", (row) => labels[runs.indexOf(row.run)]],
          ["Step", (row) => row.step, true],
          ["Layer", (row) => row.layer, true],
          ["Value", (row) => estimate(row.value, row.ci_low, row.ci_high), true],
        ],
        rows: mine,
      });
    }
    section.append(
      note(
        `${metricLabel(metric)} at the ${which} layer of each checkpoint, ${study.lenses[lens]}, with 95 % intervals; dashed: chance.`,
      ),
    );
  },
};

views.paper = {
  title: "Paper",
  about: "The published numbers beside the measured ones",
  there: () => study.published,
  async show(section) {
    const controls = bar();
    section.append(el("h1", {}, "Beside the publication"), controls);
    const rows = await table("paper_comparison");
    const models = distinct(rows, "model", Object.keys(study.labels.models));
    const model = choose(
      controls,
      "model",
      "Model",
      models.map((name) => [name, modelLabel(name)]),
    );
    const tasks = distinct(where(rows, { model }), "task", Object.keys(study.labels.tasks));
    const task = choose(
      controls,
      "task",
      "Task",
      tasks.map((name) => [name, taskLabel(name)]),
    );
    const lens = chooseLens(controls, distinct(rows, "lens", Object.keys(study.lenses)));
    const own = where(rows, { model, task, lens });
    section.append(legend(PAPER_SERIES.map((label, place) => [place, label])));
    const panels = el("div.panels");
    section.append(panels);
    for (const subtask of distinct(own, "subtask")) {
      const printed = where(own, { subtask });
      const measured = where(await metrics([model], task), {
        subtask,
        lens,
        metric: study.published,
      });
      const place = panel(panels, partLabel(subtask), `n = ${printed[0].n}`);
      const data = [
        ...curveRows(measured, "layer", () => 0),
        ...curveRows(printed, "layer", () => 1, ["published"]),
      ];
      await plot(
        place,
        "",
        curveSpec(data, { labels: PAPER_SERIES, level: printed[0].chance, title: "Layer" }),
      );
    }
    section.append(
      el("h2", {}, "In numbers"),
      grid(
        [
          ["Part", (row) => partLabel(row.subtask)],
          ["Layer", (row) => row.layer, true],
          ["Published", (row) => percent(row.published), true],
          ["Measured", (row) => estimate(row.value, row.ci_low, row.ci_high), true],
          ["Difference", (row) => percent(row.difference), true],
          ["n", (row) => row.n, true],
          ["Odd", (row) => row.anomaly || ""],
        ],
        own,
        `Published and measured, ${study.lenses[lens]}`,
      ),
      note(
        "MC1 in %: measured at every layer with 95 % intervals, published at the layers that the paper prints; dashed: chance.",
      ),
    );
  },
};

const PAPER_SERIES = ["measured", "published"];
