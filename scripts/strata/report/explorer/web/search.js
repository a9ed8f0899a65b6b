// What a reader types: views, models, tasks, metrics, lenses, findings, tables and figures.

function everything() {
  const curves = (asked) => link("curves", asked);
  return [
    ...Object.entries(views)
      .filter(([, view]) => view.there())
      .map(([name, view]) => ["View", `${view.title}: ${view.about}`, `#${name}`]),
    ...Object.keys(study.labels.models).map((model) => [
      "Model",
      `${modelLabel(model)} (${model})`,
      curves({ model }),
    ]),
    ...Object.keys(study.labels.tasks).flatMap((task) => [
      ["Task", `${taskLabel(task)} (${task})`, curves({ task })],
      ["Items", `Questions of ${taskLabel(task)} (${task})`, link("items", { task })],
    ]),
    ...Object.entries(study.words.metrics).map(([metric, label]) => [
      "Metric",
      `${label} (${metric})`,
      curves({ metric }),
    ]),
    ...Object.keys(study.lenses).map((lens) => [
      "Lens",
      `${lensLabel(lens)} (${lens})`,
      curves({ lens }),
    ]),
    ...Object.entries(study.words.probes)
      .filter(() => holds("tables/probes.csv"))
      .map(([probe, label]) => [
        "Probe",
        `${capital(label)} (${probe})`,
        link("probes", { probe }),
      ]),
    ...study.findings.map((own) => [
      "Finding",
      `${own.title}: ${own.verdict}. ${own.sentence}`,
      link("findings", { claim: own.claim }),
    ]),
    ...study.files.map((file) => [
      capital(file.kind),
      `${file.caption} (${file.stem})`,
      file.kind === "table"
        ? link("files", { table: file.stem })
        : link("files", { question: file.question, figure: file.stem }),
    ]),
  ];
}

function prepareSearch() {
  const field = document.getElementById("search"),
    list = document.getElementById("found");
  const index = everything().map((entry) => [...entry, entry.slice(0, 2).join(" ").toLowerCase()]);
  const close = () => {
    list.hidden = true;
  };
  const find = () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = words.length
      ? index.filter((entry) => words.every((word) => entry[3].includes(word)))
      : [];
    list.replaceChildren(
      ...found
        .slice(0, 30)
        .map(([kind, text, href]) =>
          el("a", { href, click: close }, el("small", {}, kind), " ", clip(text, 140)),
        ),
    );
    if (words.length && !found.length) list.append(note("Nothing found."));
    list.hidden = !words.length;
  };
  field.addEventListener("input", find);
  field.addEventListener("focus", find);
  document.addEventListener("click", (event) => {
    if (!event.target.closest("search")) close();
  });
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement?.tagName ?? "");
    if (event.key === "/" && !typing) {
      event.preventDefault();
      field.focus();
    }
    if (event.key === "Escape") close();
    const options = [...list.children],
      place = options.indexOf(document.activeElement);
    if (list.hidden || (place < 0 && document.activeElement !== field)) return;
    if (event.key === "ArrowDown") {
      event.preventDefault();
      options[Math.min(place + 1, options.length - 1)]?.focus();
    }
    if (event.key === "ArrowUp") {
      event.preventDefault();
      (place > 0 ? options[place - 1] : field).focus();
    }
    if (event.key === "Enter" && document.activeElement === field && options[0]?.href)
      options[0].click();
  });
}
