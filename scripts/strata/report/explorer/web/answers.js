// Items with what a model makes of their choices, and the filters over them.

/** Items of a (model, task, lens) in the order of the file; answers is arraysOf their scores. */
async function answered(task, model, lens) {
  const [items, answers] = await Promise.all([
    itemsOf(task),
    arraysOf(`scores/${model}/${task}/${lens}`),
  ]);
  const leaks = study.tasks[task].leaks;
  const leaked = new Map();
  for (const [kind, ids] of Object.entries(leaks))
    for (const id of ids) leaked.set(id, [...(leaked.get(id) ?? []), kind]);
  const overlong = new Set(answers.overlong);
  let start = 0;
  const found = answers.ids.map((id, place) => {
    const own = {
      item: items.get(id),
      place,
      start,
      count: answers.counts[place],
      leaks: leaked.get(id) ?? [],
      overlong: overlong.has(id),
      answers,
    };
    start += own.count;
    return own;
  });
  const skipped = answers.skipped
    .filter((id) => items.has(id))
    .map((id) => ({ item: items.get(id), skipped: true, overlong: true, leaks: leaked.get(id) ?? [] }));
  return [...found, ...skipped];
}

/** The layers that were looked at: all, unless the study chose some. */
const layersOf = (own) => own.answers.looked_at;
const lastOf = (own) => layersOf(own).at(-1);
const rowOf = (own, layer) => layersOf(own).indexOf(layer);
const of = (own, array, layer) =>
  own.answers[array][rowOf(own, layer) * own.answers.ids.length + own.place];
const right = (own, layer) => of(own, "right", layer) === 1;
const tied = (own, layer) => of(own, "tie", layer) === 1;
const at = (own, array, layer, choice) =>
  own.answers[array][rowOf(own, layer) * own.answers.tokens.length + own.start + choice];
/** Of these layers the last one up to `layer`. */
const upTo = (layers, layer) => layers.filter((one) => one <= layer).at(-1);
/** The choices in the first place at a layer; several if they tie. */
const favourites = (own, layer) =>
  own.item.choices.flatMap((_, choice) => (at(own, "rank", layer, choice) === 1 ? [choice] : []));

// By name: words, and whether an item is so (layer: the one that is asked for).
const FILTERS = {
  [ALL]: ["All items", () => true],
  right: ["Right at the layer", (own, layer) => right(own, layer)],
  wrong: ["Wrong at the layer", (own, layer) => !right(own, layer)],
  only: [
    "Right at the last layer only",
    (own) =>
      right(own, lastOf(own)) &&
      layersOf(own)
        .slice(0, -1)
        .every((layer) => !right(own, layer)),
  ],
  lost: [
    "Right at the layer, lost after it",
    (own, layer) =>
      layer < lastOf(own) &&
      right(own, layer) &&
      layersOf(own)
        .filter((one) => one > layer)
        .every((later) => !right(own, later)),
  ],
  gained: [
    "Wrong until the layer, right from it on",
    (own, layer) => layer > 0 && layersOf(own).every((one) => right(own, one) === one >= layer),
  ],
  settled: ["Settled by the layer", (own, layer) => own.answers.settled[own.place] <= layer],
  ties: ["Ties at the layer", (own, layer) => tied(own, layer)],
  leaked: ["Leaked by the set", (own) => own.leaks.length > 0],
  over: ["Over the context", (own) => own.overlong],
};

function fits(own, filter, layer) {
  if (own.skipped)
    return ["", "over"].includes(filter) || (filter === "leaked" && own.leaks.length > 0);
  return FILTERS[filter][1](own, layer);
}

/** The question of an item: the last paragraph of its prompt, behind its demonstrations. */
function question(item) {
  const text = item.prompt.trim();
  return text ? text.slice(text.lastIndexOf("\n\n") + 1).trim() : item.choices[item.best].trim();
}

/** The same without a word before it and a word that asks for the answer (Q: … A:). */
const bare = (text) => text.replace(/^\p{L}{1,9}:\s+/u, "").replace(/\n\p{L}{1,9}:$/u, "");

const ANSWER_COLUMNS = [
  "task",
  "model",
  "lens",
  "id",
  "subtask",
  "choice",
  "text",
  "correct",
  "best",
  "layer",
  "logprob",
  "rank",
];

/** A row an item, choice and layer, as a csv. */
function answersCsv(task, model, lens, shown) {
  const rows = shown.flatMap((own) =>
    own.item.choices.flatMap((text, choice) => {
      const row = {
        task,
        model,
        lens,
        id: own.item.id,
        subtask: own.item.subtask,
        choice,
        text,
        correct: own.item.correct[choice],
        best: own.item.best === choice,
      };
      return own.skipped
        ? [row]
        : layersOf(own).map((layer) => ({
            ...row,
            layer,
            logprob: float32(at(own, "logprob", layer, choice)),
            rank: at(own, "rank", layer, choice),
          }));
    }),
  );
  return csvText(ANSWER_COLUMNS, rows);
}
