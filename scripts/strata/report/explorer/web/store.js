// The study's own files as the page holds them: compressed in it, or in scripts beside it.

let study = null; // study.json, read before anything is shown
const texts = new Map();
for (const script of document.querySelectorAll("script[data-part]")) {
  texts.set(script.dataset.part, script.textContent);
}
const beside = new Set(JSON.parse(document.body.dataset.beside));
// Called by the scripts beside the page.
window.receive = (name, text) => texts.set(name, text);

// What names a thing is text, even where it looks like a number.
const NAMES = new Set([
  "model",
  "model_a",
  "model_b",
  "task",
  "subtask",
  "base",
  "lens",
  "metric",
  "train",
  "test",
  "note",
  "anomaly",
  "reader",
  "reader_a",
  "reader_b",
  "against",
  "claim",
  "layers",
  "kind",
  "digits",
  "operation",
  "language",
  "run",
  "models",
  "series",
  "revision",
]);

const kept = new Map();
/** What `make(name)` resolves to, made once. */
function once(kind, name, make) {
  const key = `${kind} ${name}`;
  if (!kept.has(key)) kept.set(key, make(name));
  return kept.get(key);
}

class Missing extends Error {}

const holds = (name) => texts.has(name) || beside.has(name);

function fromBeside(name) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = `explorer/${name.split("/").map(encodeURIComponent).join("/")}.js`;
    script.onload = () => resolve(texts.get(name));
    script.onerror = () =>
      reject(
        new Missing(
          `${script.getAttribute("src")} is not beside this page: copy the folder “explorer” along with it.`,
        ),
      );
    document.head.append(script);
  });
}

/** The content of a file, as an ArrayBuffer. */
const content = (name) =>
  once("content", name, async () => {
    const text = texts.get(name) ?? (await fromBeside(name));
    const packed = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).arrayBuffer();
  });

const textOf = async (name) => new TextDecoder().decode(await content(name));

/** The lines of a csv as pandas writes it, each a list of its cells. Vega has a reader of its own,
 * which Vega-Embed's bundle keeps to itself. */
function cellsOf(text) {
  const lines = [[]];
  for (const [, quoted, plain, end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\n]*))(,|\n|$)/g)) {
    lines.at(-1).push(quoted === undefined ? plain : quoted.replaceAll('""', '"'));
    if (end === "\n") lines.push([]);
    if (!end) break;
  }
  return lines.slice(0, -1); // behind the last line's end is none
}

/** The rows of a csv, numbers as such and empty ones as null. */
const csv = (name) =>
  once("csv", name, async () => {
    const [columns, ...lines] = cellsOf(await textOf(name));
    const rows = lines.map((cells) =>
      Object.fromEntries(columns.map((column, place) => [column, cells[place]])),
    );
    rows.columns = columns;
    for (const column of columns) {
      if (NAMES.has(column) || rows.some((row) => Number.isNaN(Number(row[column])))) continue;
      for (const row of rows) row[column] = row[column] === "" ? null : Number(row[column]);
    }
    return rows;
  });

const table = (stem) => csv(`tables/${stem}.csv`);

/** The rows of metrics of some models on a task. */
async function metrics(models, task) {
  const files = await Promise.all(models.map((model) => csv(`metrics/${model}/${task}.csv`)));
  return files.flat();
}

/** The items of a task by their ids. */
const itemsOf = (task) =>
  once("items", task, async () => {
    const lines = (await textOf(`tasks/${task}.jsonl`)).split("\n").filter(Boolean);
    return new Map(lines.map((line) => JSON.parse(line)).map((item) => [item.id, item]));
  });

/** The arrays of packing.arrays: its head, and each array under its name. */
const arraysOf = (name) =>
  once("arrays", name, async () => {
    const buffer = await content(name);
    const length = new DataView(buffer).getUint32(0, true);
    const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
    for (const { name: own, type, shape, at } of head.arrays) {
      const size = shape.reduce((a, b) => a * b, 1);
      head[own] = new window[type](buffer, 4 + length + at, size);
    }
    return head;
  });
