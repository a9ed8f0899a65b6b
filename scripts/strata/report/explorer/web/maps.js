// Layers by parts of a task: languages, calculation, and parts of its own.

views.maps = {
  title: "Maps",
  about: "Layers by languages, by operations and digits, and by other parts of a task",
  there: () => Object.keys(study.labels.tasks).some(inParts),
  async show(section) {
    const controls = bar();
    section.append(el("h1", {}, "Layers by parts"), controls);
    const tasks = Object.keys(study.labels.tasks).filter(inParts);
    const task = choose(
      controls,
      "task",
      "Task",
      tasks.map((name) => [name, taskLabel(name)]),
    );
    const model = chooseModel(controls),
      models = chosenModels(model);
    const rows = await metrics(models, task);
    const deepest = Math.max(...distinct(rows, "subtask").map(depthOf));
    const depths = Array.from({ length: deepest }, (_, place) => String(place + 1));
    const depth = choose(
      controls,
      "depth",
      "By",
      depths.map((own) => [own, DEPTHS[deepest]?.[own - 1] ?? `${plural(Number(own), "level")}`]),
      depths.at(-1),
    );
    const lens = chooseLens(controls),
      metric = chooseMetric(controls, distinct(rows, "metric"));
    const own = where(rows, { lens, metric }).filter(
      (row) => row.subtask === "all" || depthOf(row.subtask) === Number(depth),
    );
    const fit = chooseScale(controls) === "fit";
    const domain = fit
      ? [Math.min(...own.map((row) => row.value)), Math.max(...own.map((row) => row.value))]
      : [0, 1];
    const lines = distinct(own, "subtask", ["all"]).sort(inOrder);
    const wide =
      models.length === 1 || Math.max(...models.map((name) => study.models[name].layers)) > 16;
    const panels = el(wide ? "div.panels.one" : "div.panels.wide");
    section.append(scaleBar(domain), panels);
    for (const name of models) {
      const mine = where(own, { model: name });
      const place = panel(panels, modelLabel(name));
      const cells = mine.map((row) => ({
        x: row.layer,
        y: partLabel(row.subtask),
        value: row.value,
        tip: {
          [partLabel(row.subtask)]: estimate(row.value, row.ci_low, row.ci_high),
          Layer: String(row.layer),
          n: String(row.n),
          Chance: percent(row.chance),
        },
      }));
      const columns = distinct(mine, "layer").sort((a, b) => a - b);
      await plot(
        place,
        "",
        {
          ...mapSpec(cells, {
            columns,
            lines: lines.map(partLabel),
            title: "Layer",
            domain,
            room: place.clientWidth,
          }),
        },
        {
          columns: [
            ["Part", (part) => partLabel(part)],
            ...columns.map((layer) => [
              layer,
              (part) => percent(pick(mine, { subtask: part, layer })?.value),
              true,
            ]),
          ],
          rows: lines,
        },
      );
    }
    section.append(
      note(
        `${taskLabel(task)}: ${metricLabel(metric)} in %, ${study.lenses[lens]}, n = ${fromTo(own.filter((row) => row.subtask !== "all").map((row) => row.n))} a part. Hover or tap a cell for its interval.`,
      ),
    );
  },
};

const DEPTHS = { 3: ["kinds of numbers", "digits", "operations"] }; // of calculation
const inParts = (task) => study.tasks[task].parts;
const depthOf = (part) => (part === "all" ? 0 : part.split("/").length);
const inOrder = (a, b) => {
  const order = Object.keys(study.words.subtasks);
  const [left, right] = [a, b].map((part) =>
    part.split("/").map((one) => [order.indexOf(one) + 1 || order.length + 1, one]),
  );
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    if (left[i][0] !== right[i][0]) return left[i][0] - right[i][0];
    if (left[i][1] !== right[i][1]) return left[i][1] < right[i][1] ? -1 : 1;
  }
  return left.length - right.length;
};

function scaleBar([low, high], kind = "viridis", say = percent) {
  return el(
    "p.scale",
    {},
    say(low),
    el(`span.ramp.${kind}`, { "aria-hidden": "true" }),
    `${say(high)}${say === percent ? " %" : ""}`,
  );
}
