// The questions themselves.

const PAGE = 40;

views.items = {
  title: "Items",
  about: "Every question with its choices, their log-probabilities and ranks at every layer",
  there: () => true,
  async show(section, asked) {
    const controls = bar();
    section.append(el("h1", {}, "The questions"), controls);
    const task = choose(controls, "task", "Task", Object.entries(study.labels.tasks));
    const models = Object.keys(study.labels.models);
    const model = choose(
      controls,
      "model",
      "Model",
      models.map((name) => [name, modelLabel(name)]),
      models.filter(compared).at(-1),
    );
    const lenses = Object.keys(study.lenses).filter((name) =>
      holds(`scores/${model}/${task}/${name}`),
    );
    const lens = chooseLens(controls, lenses);
    const every = await answered(task, model, lens);
    const parts = [...new Set(every.map((own) => own.item.subtask).filter(Boolean))].sort(inOrder);
    const part = choose(controls, "part", "Part", [
      [ALL, "All"],
      ...parts.map((name) => [name, partLabel(name)]),
    ]);
    const filter = choose(
      controls,
      "filter",
      "Which",
      Object.entries(FILTERS).map(([name, [words]]) => [name, words]),
    );
    const last = study.models[model].layers;
    const scored = every.find((own) => !own.skipped);
    const read = (layer) => (scored ? upTo(layersOf(scored), layer) : layer);
    const layer = read(slide(controls, "layer", "Layer", last, last, read));
    controls.append(
      el(
        "label.control",
        {},
        el("span", {}, "Holding the text"),
        el("input", {
          type: "search",
          value: asked.text ?? "",
          "data-key": "text",
          change: (event) => ask({ text: event.target.value }),
        }),
      ),
    );
    const text = (asked.text ?? "").toLowerCase();
    const shown = every.filter(
      (own) =>
        (part === ALL || own.item.subtask === part) &&
        fits(own, filter, layer) &&
        (!text ||
          JSON.stringify([own.item.id, own.item.prompt, own.item.choices])
            .toLowerCase()
            .includes(text)),
    );
    const opened = every.find((own) => own.item.id === asked.item);
    if (opened) section.append(itemCard(opened, layer, model, lens));
    const name = [study.name, task, model, lens].join("_");
    section.append(
      el(
        "p.count",
        { role: "status" },
        el("b", {}, plural(shown.length, "item")),
        ` of ${every.length} of ${taskLabel(task)}, ${modelLabel(model)}, ${study.lenses[lens]}. `,
        button("Download these (csv)", () =>
          save(`${name}.csv`, answersCsv(task, model, lens, shown), "text/csv"),
        ),
        " ",
        button("(jsonl)", () =>
          save(
            `${name}.jsonl`,
            shown.map((own) => JSON.stringify(own.item)).join("\n") + "\n",
            "application/json",
          ),
        ),
      ),
    );
    this.list(section, shown, layer, parts.length > 0);
    section.append(
      note(
        `Right: the best true choice has a greater log-probability than every false one (MC1), through the ${study.lenses[lens]}. A box a layer, from the embedding on: ■ right, □ wrong, ◪ tied. Settles: the first layer from which on the answer is the last layer’s.`,
      ),
    );
  },

  list(section, shown, layer, inParts) {
    const body = el("tbody");
    const more = button("Show more", () => add());
    let count = 0;
    const add = () => {
      body.append(...shown.slice(count, count + PAGE).map((own) => itemRow(own, layer, inParts)));
      count += PAGE;
      more.hidden = count >= shown.length;
      more.textContent = `Show more (${shown.length - count} left)`;
    };
    const heads = [
      "Question",
      "Best true choice",
      `Answer at layer ${layer}`,
      "Layer by layer",
      "Settles",
      ...(inParts ? ["Part"] : []),
    ];
    section.append(
      el(
        "div.scroll",
        { tabindex: 0, role: "region", "aria-label": "Items" },
        el(
          "table.items",
          {},
          el(
            "thead",
            {},
            el(
              "tr",
              {},
              heads.map((head) => el("th", { scope: "col" }, head)),
            ),
          ),
          body,
        ),
      ),
      el("p", {}, more),
    );
    add();
  },
};

const track = (own) =>
  layersOf(own)
    .map((layer) => (tied(own, layer) ? "◪" : right(own, layer) ? "■" : "□"))
    .join("");

function itemRow(own, layer, inParts) {
  const { item } = own;
  const open = el(
    "a",
    // Where the keyboard is goes to the item's own link, which closes it, and back.
    { href: link("items", { ...address().asked, item: item.id }), "data-key": `item ${item.id}` },
    clip(bare(question(item)), 150),
  );
  const cell = (label, content) => el("td", { "data-label": label }, content);
  const answer = own.skipped
    ? ""
    : favourites(own, layer)
        .map((choice) => item.choices[choice].trim())
        .join(" = ");
  return el(
    "tr",
    {},
    el(
      "th",
      { scope: "row" },
      open,
      own.leaks.length
        ? el(
            "span.tag",
            { title: own.leaks.map((kind) => study.words.leaks[kind] ?? kind).join("; ") },
            "leaked",
          )
        : "",
      own.overlong ? el("span.tag", {}, "over the context") : "",
    ),
    cell("Best true choice", clip(item.choices[item.best].trim(), 90)),
    cell(
      "Answer",
      own.skipped
        ? NOTHING
        : el(
            right(own, layer) ? "span" : "span.wrong",
            {},
            `${right(own, layer) ? "✓" : "✗"} ${clip(answer, 90)}`,
          ),
    ),
    cell(
      "Layers",
      own.skipped
        ? ""
        : el(
            "span.track",
            {
              role: "img",
              style: `min-width: ${Math.min(lastOf(own) + 1, 41)}ch`,
              "aria-label": `right at ${plural(layersOf(own).filter((one) => right(own, one)).length, "layer")} of ${layersOf(own).length}`,
            },
            track(own),
          ),
    ),
    cell("Settles", own.skipped ? "" : String(own.answers.settled[own.place])),
    inParts ? cell("Part", item.subtask ? partLabel(item.subtask) : "") : "",
  );
}

const clip = (text, most) => (text.length > most ? `${text.slice(0, most)} …` : text);

function itemCard(own, layer, model, lens) {
  const { item } = own;
  const card = el("article.item", { "aria-label": `Item ${item.id}` });
  const asked = question(item),
    before = item.prompt.slice(0, item.prompt.length - asked.length);
  card.append(
    el(
      "p.close",
      {},
      el(
        "a",
        {
          href: link("items", { ...address().asked, item: undefined }),
          "aria-label": "Close this item",
          "data-key": `item ${item.id}`,
        },
        "Close ×",
      ),
    ),
    el("h2", {}, `Item ${item.id}`),
    el(
      "p.facts",
      {},
      [
        item.subtask && partLabel(item.subtask),
        `${modelLabel(model)}, ${study.lenses[lens]}`,
        item.group && item.group !== asked && `group: ${clip(item.group, 60)}`,
        ...own.leaks.map((kind) => study.words.leaks[kind] ?? kind),
      ]
        .filter(Boolean)
        .join(" · "),
    ),
  );
  if (before.trim() && item.prompt.trim())
    card.append(
      folded("What stands before the question", () => el("pre.prompt", {}, before.trim())),
    );
  if (item.prompt.trim()) card.append(el("pre.question", {}, asked));
  if (own.skipped) {
    card.append(
      note("Longer than the model’s context, and left out: it has no scores."),
      el(
        "ol",
        {},
        item.choices.map((choice) => el("li", {}, choice)),
      ),
    );
    return card;
  }
  const rows = item.choices.map((choice, place) => ({
    place,
    text: (item.fillings?.[place] ?? "") + choice,
  }));
  const truth = (place) => (place === item.best ? "best true" : item.correct[place] ? "true" : "");
  card.append(
    grid(
      [
        ["Choice", (row) => el(row.place === item.best ? "b" : "span", {}, row.text.trim())],
        ["", (row) => truth(row.place)],
        ["Rank", (row) => at(own, "rank", layer, row.place), true],
        ["Log-probability", (row) => number(at(own, "logprob", layer, row.place), 3), true],
        ["Tokens", (row) => own.answers.tokens[own.start + row.place], true],
        ...(own.answers.blind
          ? [
              [
                "Without the question",
                (row) => number(own.answers.blind[own.start + row.place], 3),
                true,
              ],
            ]
          : []),
      ],
      rows,
      `At layer ${layer} of ${lastOf(own)}${own.answers.blind ? "; without the question at the last" : ""}`,
    ),
  );
  const what = bar(),
    array = choose(what, "show", "Over layers", [
      ["rank", "ranks"],
      ["logprob", "log-probabilities"],
    ]);
  card.append(
    what,
    legend(
      rows.map((row) => [
        row.place,
        clip(row.text.trim(), 46) +
          (row.place === item.best ? " (best true)" : item.correct[row.place] ? " (true)" : ""),
      ]),
    ),
  );
  const chart = el("div");
  card.append(chart);
  whenSeen(chart, () =>
    plot(
      chart,
      array === "rank" ? "Rank of each choice, 1 at the top" : "Log-probability of each choice",
      choiceSpec(own, array, layer),
      null,
    ),
  );
  card.append(folded("Every layer", () => layersTable(own, rows)));
  return card;
}

/** The choices of an item over the layers. */
function choiceSpec(own, array, layer) {
  const { item } = own;
  const labels = item.choices.map((choice) => clip(choice.trim(), 40) || "(empty)");
  const data = item.choices.flatMap((_, choice) =>
    layersOf(own).map((one) => ({ x: one, value: at(own, array, one, choice), series: choice })),
  );
  const ranked = array === "rank";
  return curveSpec(data, {
    labels: labels.map((label, place) => `${place + 1}. ${label}`),
    height: 230,
    at: layer,
    say: (value) => number(value, ranked ? 0 : 3),
    yScale: ranked ? { reverse: true, domain: [1, item.choices.length] } : { zero: false },
    axis: { tickMinStep: 1, format: ranked ? "d" : "~f" },
    strong: where(data, { series: item.best }),
  });
}

const layersTable = (own, rows) =>
  grid(
    [
      ["Choice", (row) => row.text.trim()],
      ...layersOf(own).map((layer) => [
        String(layer),
        (row) =>
          `${number(at(own, "logprob", layer, row.place), 2)} (${at(own, "rank", layer, row.place)})`,
        true,
      ]),
    ],
    rows,
    "Log-probability (rank) at every layer",
  );
