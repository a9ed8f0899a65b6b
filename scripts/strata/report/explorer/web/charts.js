// Charts, drawn by Vega-Lite from rows. No text of the study stands in an expression or as the name
// of a field: labels are values, and what a tooltip says is an object under `tip`.

const INK = "#222",
  SOFT = "#5b6470",
  FAINT = "#e6e8eb";
const DASHES = [
  [1, 0],
  [7, 2.5],
  [2, 2],
  [7, 2, 2, 2],
  [12, 3],
  [4, 2],
  [9, 2, 2, 2, 2, 2],
  [1, 3],
];
const SHAPES = [
  "circle",
  "square",
  "triangle-up",
  "diamond",
  "triangle-down",
  "cross",
  "triangle-right",
  "stroke",
];
const THEME = {
  background: null,
  font: "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif",
  view: { stroke: null },
  axis: {
    labelColor: SOFT,
    titleColor: SOFT,
    titleFontWeight: 400,
    labelFontSize: 11,
    titleFontSize: 11,
    gridColor: FAINT,
    domainColor: "#b8bec6",
    tickColor: "#b8bec6",
    tickSize: 4,
    titlePadding: 6,
  },
  axisY: {
    domain: false,
    ticks: false,
    titleAnchor: "end",
    titleAngle: 0,
    titleAlign: "left",
    titleY: -10,
    labelPadding: 7,
  },
  axisX: { grid: false },
};
const PERCENT_AXIS = { format: ".0%", tickCount: 5 };

/** The axis of lines with names, which are `inLines`. */
const LINES_AXIS = {
  labelExpr: "split(datum.label, '\\n')",
  labelLimit: 0,
  domain: false,
  ticks: false,
};

/** A name broken between its words, so that it takes no more than two fifths of a chart of `room`
 * pixels. */
function inLines(name, room) {
  const most = (0.4 * room) / 6.2; // pixels a letter of the axis
  const lines = [""];
  for (const word of name.split(" ")) {
    const longer = `${lines.at(-1)} ${word}`.trim();
    if (longer.length <= most || !lines.at(-1)) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines.join("\n");
}

/** Pixels that the tallest of names `inLines` takes. */
const tallest = (names) => 14 * Math.max(...names.map((name) => name.split("\n").length)) + 5;

/** Colour, dashes and marker of one of several, told apart in grey too. */
const look = (place) => ({
  color: study.colors[place % study.colors.length],
  dash: DASHES[place % DASHES.length],
  shape: SHAPES[place % SHAPES.length],
});
const modelPlace = (model) => Object.keys(study.labels.models).indexOf(model);

/** A scale of series (their places) to what look() says of each. */
const seriesScale = (places, what) => ({
  domain: places,
  range: places.map((place) => look(place)[what]),
});
const byLook = (places, what) => ({
  field: "series",
  type: "nominal",
  legend: null,
  scale: seriesScale(places, what),
});

/** Draws a specification in a figure: title above, and the same numbers as a table below. */
async function plot(parent, title, spec, values = null) {
  const place = el("div.chart", { role: "img", "aria-label": title });
  parent.append(
    el(
      "figure",
      {},
      title ? el("figcaption", {}, title) : "",
      place,
      values ? folded("Values", () => grid(values.columns, values.rows, title)) : "",
    ),
  );
  await draw(place, spec);
}

function draw(place, spec) {
  const whole = {
    width: "container",
    autosize: { type: "fit-x", contains: "padding" },
    padding: { left: 2, right: 10, top: 14, bottom: 2 },
    ...spec,
    config: THEME,
  };
  return window.vegaEmbed(place, whole, {
    actions: false,
    renderer: "svg",
    logLevel: 1,
    tooltip: { theme: "custom", offsetY: 14 },
  });
}

/** The series of a chart, in words: swatches and labels. entries: [place, label]. */
function legend(entries) {
  return el(
    "ul.legend",
    { "aria-label": "Legend" },
    entries.map(([place, label]) => el("li", {}, swatch(look(place)), label)),
  );
}

const MARKS = {
  // in a box of 10 x 10 around 0
  circle: "M-3.4,0a3.4,3.4 0 1,0 6.8,0a3.4,3.4 0 1,0 -6.8,0Z",
  square: "M-3,-3h6v6h-6Z",
  "triangle-up": "M0,-4L4,3H-4Z",
  diamond: "M0,-4.4L3.6,0L0,4.4L-3.6,0Z",
  "triangle-down": "M0,4L4,-3H-4Z",
  cross: "M-1.3,-4h2.6v2.7h2.7v2.6h-2.7v2.7h-2.6v-2.7h-2.7v-2.6h2.7Z",
  "triangle-right": "M4,0L-3,4V-4Z",
  stroke: "M-4,-1h8v2h-8Z",
};

function swatch({ color, dash, shape }) {
  const make = (tag, attributes, ...children) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  return make(
    "svg",
    { viewBox: "-15 -6 30 12", width: 30, height: 12, "aria-hidden": "true" },
    make("path", {
      d: "M-15,0H15",
      stroke: color,
      "stroke-width": 1.6,
      "stroke-dasharray": dash.join(" "),
    }),
    make("path", { d: MARKS[shape], fill: color }),
  );
}

/**
 * Curves over layers: lines with bands, a level to compare with, and what all of them are on hover.
 * rows: {x, value, low, high, series}, series being a place (look). options: labels (by place); level
 * and what it is; title, xScale and xAxis; fit (the axis, not 0 to 1) or yScale, and axis (of y);
 * say (a value in words); height; at (an x to mark); behind the curves faint (rows of lines), strong (rows
 * of broad ones) and band (rows of one grey band, and its name); also (told on hover everywhere).
 */
function curveSpec(rows, options) {
  const { level = null, height = 150, at = null, faint = [], strong = [], band = [] } = options;
  const { x, y } = curveAxes(rows, options);
  const places = distinct(rows, "series");
  const color = byLook(places, "color");
  const value = { ...y, field: "value" };
  const range = { y: { ...y, field: "low" }, y2: { field: "high" } };
  const on = (data, mark, encoding) => ({ data: { values: data }, mark, encoding });
  const stops = stopsOf(rows, options);
  const near = { type: "point", fields: ["x"], on: "pointerover,click", clear: "pointerout" };
  return {
    height,
    layer: [
      ...(known(at)
        ? [
            on(
              [{ at }],
              { type: "rule", color: "#c9ced4", strokeWidth: 5 },
              { x: { ...x, field: "at" } },
            ),
          ]
        : []),
      ...(known(level)
        ? [
            on(
              [{ level }],
              { type: "rule", color: SOFT, strokeDash: [3, 3] },
              { y: { ...y, field: "level" } },
            ),
          ]
        : []),
      on(band, { type: "area", color: "#8b929b", opacity: 0.32 }, { x, ...range }),
      on(
        faint,
        { type: "line", strokeDash: [1, 2.5], strokeWidth: 1.3, opacity: 0.75 },
        { x, y: value, color },
      ),
      on(strong, { type: "line", strokeWidth: 9, opacity: 0.16, color: INK }, { x, y: value }),
      on(rows, { type: "area", opacity: 0.14 }, { x, ...range, color }),
      on(
        rows,
        { type: "line", strokeWidth: 1.8 },
        { x, y: value, color, strokeDash: byLook(places, "dash") },
      ),
      on(
        rows,
        { type: "point", filled: true, opacity: 1, size: 26 },
        { x, y: value, color, shape: byLook(places, "shape") },
      ),
      on(
        stops,
        { type: "rule", color: SOFT },
        {
          x,
          opacity: { condition: { param: "near", empty: false, value: 0.7 }, value: 0 },
        },
      ),
      {
        ...on(
          stops,
          { type: "rect", opacity: 0, clip: true },
          {
            x: { ...x, field: "from" },
            x2: { field: "to" },
            tooltip: { field: "tip" },
          },
        ),
        params: [{ name: "near", select: near }],
      },
    ],
  };
}

const inOrderOfX = (rows) => distinct(rows, "x").sort((a, b) => a - b);

function curveAxes(
  rows,
  { title = "Layer", xScale, xAxis, fit = false, yScale, axis = PERCENT_AXIS },
) {
  const xs = inOrderOfX(rows);
  const stops =
    title === "Depth"
      ? { values: [0, 0.25, 0.5, 0.75, 1], format: ".0%" }
      : { values: ticks(rows), format: "d" };
  const whole = fit ? { zero: false, nice: true } : { domain: [0, 1] };
  return {
    x: {
      field: "x",
      type: "quantitative",
      title,
      scale: { domain: [xs[0] ?? 0, xs.at(-1) ?? 1], nice: false, padding: 6, ...xScale },
      axis: { ...stops, ...xAxis },
    },
    y: { type: "quantitative", title: null, scale: yScale ?? whole, axis },
  };
}

/** Every x with the stretch that is nearer to it than to the next ones, and what is told there. */
function stopsOf(rows, options) {
  const { labels, level = null, levelName = "Chance", title = "Layer", say = percent } = options;
  const { faint = [], band = [], bandName = "", also = {} } = options;
  const xs = inOrderOfX(rows);
  return xs.map((stop, place) => {
    const [from, to] = [xs[place - 1] ?? stop - 1, xs[place + 1] ?? stop + 1].map(
      (next) => (stop + next) / 2,
    );
    const tip = { [title]: title === "Depth" ? percent(stop) : String(stop) };
    const tell = (found, name) => {
      for (const row of where(found, { x: stop }))
        tip[name(row)] = estimate(row.value, row.low, row.high, say);
    };
    tell(rows, (row) => labels[row.series]);
    tell(faint, (row) => `${labels[row.series]}, no question`);
    tell(band, () => bandName);
    if (known(level)) tip[levelName] = say(level);
    return { x: stop, from, to, tip: { ...tip, ...also } };
  });
}

/** Whole numbers along an axis, ten at most. */
function ticks(rows) {
  const most = Math.max(0, ...rows.map((row) => row.x));
  const step = [1, 2, 5, 10, 20, 50].find((one) => most / one <= 9) ?? 100;
  return Array.from({ length: Math.floor(most / step) + 1 }, (_, place) => place * step);
}

/** Cells of colour with their numbers. rows: {x, y, value, tip}; columns and lines in order, and what
 * they are. */
function mapSpec(
  rows,
  {
    columns,
    lines,
    title,
    lineTitle = null,
    domain = [0, 1],
    scheme = "viridis",
    say = percent,
    room = 900,
    step = 20,
  },
) {
  const wide = room / columns.length;
  const names = lines.map((line) => inLines(line, room));
  const side = Math.min(0.42 * room, 7 * Math.max(...lines.map((line) => line.length)));
  const shown = (room - side) / columns.length > 27 && wide > 27;
  const cells = rows.map((row) => ({ ...row, y: inLines(row.y, room), text: known(row.value) ? say(row.value) : "" }));
  const x = {
    field: "x",
    type: "ordinal",
    title,
    scale: { domain: columns },
    axis: { labelAngle: 0, labelOverlap: true, labelSeparation: 5, domain: false, ticks: false },
  };
  const y = {
    field: "y",
    type: "nominal",
    title: lineTitle,
    scale: { domain: names },
    axis: LINES_AXIS,
  };
  // Black and white change places where both have a contrast of 4.5.
  const [low, high] = domain,
    light =
      scheme === "viridis"
        ? `datum.value > ${low + 0.43 * (high - low)}`
        : `abs(datum.value - ${(low + high) / 2}) < ${0.36 * (high - low)}`;
  return {
    height: Math.max(step, tallest(names)) * lines.length,
    data: { values: cells },
    encoding: { x, y, tooltip: { field: "tip" } },
    layer: [
      {
        mark: { type: "rect", stroke: "white", strokeWidth: 1 },
        encoding: {
          color: {
            condition: { test: "!isValid(datum.value)", value: "#f1f2f4" },
            field: "value",
            type: "quantitative",
            legend: null,
            // High is red, as in the figures.
            scale: { scheme, domain, clamp: true, reverse: scheme === "redblue" },
          },
        },
      },
      ...(shown
        ? [
            {
              mark: { type: "text", fontSize: 10.5 },
              encoding: {
                text: { field: "text" },
                color: { condition: { test: "datum.light", value: "black" }, value: "white" },
              },
            },
          ]
        : []),
    ],
    transform: [{ calculate: light, as: "light" }],
  };
}
