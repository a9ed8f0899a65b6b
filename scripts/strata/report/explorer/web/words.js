// Numbers and names as a reader sees them.

const rounded = (digits) =>
  new Intl.NumberFormat("en", {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
    roundingMode: "halfEven",
    useGrouping: false,
    signDisplay: "negative",
  });
const FORMATS = [0, 1, 2, 3].map(rounded);
const NOTHING = "–";
const known = (value) => value !== null && value !== undefined && value !== "";

const number = (value, digits = 2) =>
  known(value) ? FORMATS[digits].format(value).replace("-", "−") : NOTHING;
/** A share in percent, as the study's tables have it. */
const percent = (value) => number(known(value) ? 100 * value : value, 1);
const interval = (low, high, say = percent) =>
  known(low) && known(high) ? `[${say(low)}, ${say(high)}]` : "";
const estimate = (value, low, high, say = percent) =>
  `${say(value)} ${interval(low, high, say)}`.trim();
const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
/** The least and the largest of numbers, in words. */
const fromTo = (values) => [...new Set([Math.min(...values), Math.max(...values)])].join(" to ");
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** The shortest text that is this float32 again. */
function float32(value) {
  for (let digits = 6; digits < 9; digits++) {
    const text = String(Number(value.toPrecision(digits)));
    if (Math.fround(Number(text)) === value) return text;
  }
  return String(Number(value.toPrecision(9)));
}

const modelLabel = (name) => study.labels.models[name] ?? name;
const taskLabel = (name) => study.labels.tasks[name] ?? name;
const lensLabel = (name) => capital(study.lenses[name] ?? name);
const metricLabel = (name) => study.words.metrics[name] ?? name.toUpperCase();
const DIGITS = /^\d+(-\d+)?$/; // of the operands of a calculation
const partLabel = (path) =>
  path
    .split("/")
    .map(
      (part, place) =>
        study.words.subtasks[part] ??
        (place && DIGITS.test(part) ? `${part} ${part === "1" ? "digit" : "digits"}` : part),
    )
    .join(" · ");

/** Distinct values of a column, in the order of `order` and then of the rows. */
function distinct(rows, column, order = []) {
  const there = new Set(rows.map((row) => row[column]).filter(known));
  return [...order.filter((value) => there.delete(value)), ...there];
}

/** The only row with these values, or undefined. */
const pick = (rows, wanted) => rows.find((row) => matches(row, wanted));
const matches = (row, wanted) => Object.entries(wanted).every(([key, value]) => row[key] === value);
const where = (rows, wanted) => rows.filter((row) => matches(row, wanted));

/** A csv of rows (objects), quoted where it must be. A text that a spreadsheet would run as a formula
 * has an apostrophe in front, by which it takes it for a text. */
function csvText(columns, rows) {
  const cell = (value) => {
    const runs = typeof value === "string" && /^\s*[=+\-@＝＋－＠]/.test(value) && isNaN(value);
    const text = known(value) ? (runs ? "'" : "") + String(value) : "";
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const lines = rows.map((row) => columns.map((column) => cell(row[column])).join(","));
  return [columns.join(","), ...lines].join("\n") + "\n";
}
