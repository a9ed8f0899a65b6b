// Every table and figure of the study, to look at and to take along.

const isText = (stem) => `tables/${stem}.csv`;

views.files = {
  title: "Files",
  about: "Every figure and table, to look at and to download",
  there: () => true,
  async show(section, asked) {
    const controls = bar();
    section.append(el("h1", {}, "Figures and tables"), controls);
    if (asked.table && holds(isText(asked.table))) return this.table(section, asked.table);
    const questions = distinct(study.files, "question");
    const question = choose(controls, "question", "On", [
      [ALL, "everything"],
      ...questions.map((name) => [name, name.toLowerCase()]),
    ]);
    const kind = choose(controls, "kind", "What", [
      [ALL, "figures and tables"],
      ["figure", "figures"],
      ["table", "tables"],
    ]);
    for (const name of questions.filter((one) => question === ALL || one === question)) {
      const own = study.files.filter(
        (file) => file.question === name && (kind === ALL || file.kind === kind),
      );
      if (!own.length) continue;
      const figures = where(own, { kind: "figure" }),
        tables = where(own, { kind: "table" });
      section.append(el("h2", {}, name));
      if (figures.length) section.append(el("div.gallery", {}, figures.map(figureCard)));
      if (tables.length)
        section.append(
          el(
            "ul.tables",
            {},
            tables.map((file) =>
              el(
                "li",
                {},
                el("a", { href: link("files", { table: file.stem }) }, file.stem),
                ` – ${file.caption} `,
                take(isText(file.stem)),
              ),
            ),
          ),
        );
    }
    const metricFiles = Object.keys(study.labels.models).flatMap((model) =>
      Object.keys(study.labels.tasks).map((task) => `metrics/${model}/${task}.csv`),
    );
    section.append(
      el("h2", {}, "Metrics"),
      folded(`${plural(metricFiles.length, "file")}: every part, layer, lens and metric`, () =>
        el(
          "ul.tables",
          {},
          metricFiles.map((name) => el("li", {}, name, " ", take(name))),
        ),
      ),
    );
  },
  async table(section, stem) {
    const file = study.files.find((one) => one.stem === stem && one.kind === "table");
    const rows = await table(stem);
    section.append(
      el("p", {}, el("a", { href: "#files" }, "‹ All files")),
      el("h2", {}, stem),
      el("p", {}, file?.caption ?? "", " ", take(isText(stem))),
    );
    const columns = rows.columns.map((column) => [
      column,
      (row) => (known(row[column]) ? String(row[column]) : ""),
      typeof rows[0]?.[column] === "number",
    ]);
    const most = 300;
    section.append(grid(columns, rows.slice(0, most), stem));
    if (rows.length > most)
      section.append(note(`The first ${most} of ${rows.length} rows; the csv has all of them.`));
  },
};

function take(name, label = name.split(".").at(-1)) {
  const types = { csv: "text/csv", png: "image/png", pdf: "application/pdf" };
  return button(
    label,
    async () => save(name.split("/").join("_"), await content(name), types[label]),
    { "aria-label": `Download ${name}` },
  );
}

function figureCard(file) {
  const name = `figures/${file.stem}.png`;
  // All at one scale, so that their texts are of one size, and with room before they are drawn.
  const [width, height] = file.pixels.map((pixels) => pixels / 2);
  const image = el("img", { alt: file.caption, width, height });
  const card = el(
    "figure",
    { id: `figure-${file.stem}`, class: width > 376 && "wide" }, // than a column of the gallery
    image,
    el(
      "figcaption",
      {},
      file.caption,
      " ",
      take(name),
      " ",
      holds(`figures/${file.stem}.pdf`) ? take(`figures/${file.stem}.pdf`) : "",
    ),
  );
  whenSeen(card, async () => {
    image.src = await once("image", name, async () =>
      URL.createObjectURL(new Blob([await content(name)], { type: "image/png" })),
    );
  });
  return card;
}
