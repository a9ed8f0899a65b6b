"""A table as files: tidy for machines (csv), laid out for readers (Markdown, LaTeX, HTML)."""

import re
from dataclasses import dataclass
from html import escape as escape_html
from pathlib import Path

import pandas as pd

from strata.integrity import sealed

# Characters of a row that fit a text block of 16 cm in \footnotesize, and rows that fit a page; a
# column of longer cells than WRAP is set in lines of that many.
TEX_WIDTH = 106
TEX_ROWS = 45
WRAP = 30
TEX_CM = 16 / TEX_WIDTH
# What begins a tag, a link or a character by its name in Markdown, or takes the backslash from one
# that is escaped; of a cell, what would end it or set it otherwise besides.
LIVE = r"\\|<(?=[A-Za-z/!?])|\](?=[(\[:])|&(?=#?\w+;)"
LIVE_CELL = rf"[|*`<]|{LIVE}"
# Of a table as a page: names of rows and columns stay in sight, numbers line up.
PAGE = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 1.5em; color: #222; }
h1 { font-size: 1.1em; max-width: 60em; }
p { max-width: 60em; color: #555; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2em .8em; white-space: nowrap; border-bottom: 1px solid #e5e5e5; }
th { text-align: left; font-weight: 500; background: #fff; }
td, thead th { text-align: right; }
thead th { position: sticky; top: 0; font-weight: 600; border-bottom: 2px solid #444; }
thead th.key { text-align: left; }
tbody th:first-child { position: sticky; left: 0; }
"""


@dataclass(frozen=True)
class Table:
    """tidy: every lens and metric, a row a number, in full precision.

    shown: what a reader sees, all text; its index holds the columns that name a row.
    heading: one sentence, as `captions.heading` makes it; caption: how to read the table.
    """

    tidy: pd.DataFrame
    shown: pd.DataFrame
    heading: str
    caption: str


def write_table(table: Table, stem: str | Path) -> None:
    """Writes stem.csv, stem.md, stem.tex and stem.html, and the heading as stem.txt."""
    stem = Path(stem)
    contents = {
        ".csv": table.tidy.to_csv(index=False, lineterminator="\n"),
        ".md": markdown(table.shown, table.caption),
        ".tex": latex(table.shown, table.caption, stem.name, brief(table.heading)),
        ".html": html(table),
        ".txt": table.heading + "\n",
    }
    for suffix, content in contents.items():
        with sealed(stem.with_name(stem.name + suffix)) as part:
            part.write_text(content, encoding="utf-8")


def markdown(shown: pd.DataFrame, caption: str) -> str:
    keys = shown.index.nlevels
    header, *rows = (
        [re.sub(LIVE_CELL, r"\\\g<0>", _one_line(cell)) for cell in row] for row in _grid(shown)
    )
    # At least two: a column's rule has a hyphen.
    widths = [max(2, *map(len, column)) for column in zip(header, *rows, strict=True)]

    def line(row: list[str]) -> str:
        cells = (
            cell.ljust(width) if column < keys else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return f"| {' | '.join(cells)} |"

    rule = ["-" * width if i < keys else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    said = re.sub(LIVE, r"\\\g<0>", _one_line(caption))
    return "\n".join([said, "", *map(line, [header, rule, *rows])]) + "\n"


def html(table: Table) -> str:
    """A page of its own, that needs no other file."""
    keys = table.shown.index.nlevels
    header, *rows = ([escape_html(cell) for cell in row] for row in _grid(table.shown))
    head = "".join(f'<th class="key">{cell}</th>' for cell in header[:keys])
    head += "".join(f"<th>{cell}</th>" for cell in header[keys:])
    body = "\n".join(
        f"<tr>{''.join(f'<th>{cell}</th>' for cell in row[:keys])}"
        f"{''.join(f'<td>{cell}</td>' for cell in row[keys:])}</tr>"
        for row in rows
    )
    title, caption = escape_html(table.heading), escape_html(_one_line(table.caption))
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{title}</title>\n'
        f"<style>{PAGE}</style>\n<h1>{title}</h1>\n<table>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n"
        f"<p>{caption}</p>\n</html>\n"
    )


def brief(heading: str) -> str:
    """What a heading says the table shows, without of what."""
    return heading.split(":")[0].rstrip(".")


def latex(shown: pd.DataFrame, caption: str, name: str, short: str) -> str:
    """A booktabs table; longer than a page it is a longtable, wider than the text several, each
    with the keys. short: the caption of the list of tables, of further parts and pages."""
    label = re.sub(r"[^A-Za-z0-9]+", "-", name)
    panels = _panels(shown)
    texts = []
    for number, panel in enumerate(panels, 1):
        part = f" ({number} of {len(panels)})" if len(panels) > 1 else ""
        title = escape(short) + part
        first = f"{title}. {escape(caption)}" if number == 1 else title
        mark = f"\\label{{tab:{label}}}" if number == 1 else ""
        texts.append(_tabular(panel, f"\\caption[{{{title}}}]{{{first}}}{mark}", title))
    return "% needs \\usepackage{array,booktabs,longtable}\n" + "\n".join(texts)


def escape(text: str) -> str:
    """LaTeX source that prints `text`."""
    special = {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "–": "--",
        "−": "$-$",
        "±": r"$\pm$",
        "²": r"\textsuperscript{2}",
        "†": r"\dag{}",
        **{character: f"\\{character}" for character in "&%$#_{}"},
    }
    text = "".join(special.get(character, character) for character in _one_line(text))
    # \\ and \addlinespace would take a bracket that follows for their option.
    return "{[}" + text[1:] if text.startswith("[") else text


def _tabular(shown: pd.DataFrame, caption: str, title: str) -> str:
    long = len(shown) > TEX_ROWS
    keys = shown.index.nlevels
    grid = _grid(shown)
    columns = "".join(
        _column(longest, key=place < keys) for place, longest in enumerate(_longest(grid))
    )
    header, *rows = ([escape(cell) for cell in row] for row in grid)
    body: list[str] = []
    above = [""] * keys
    for row in rows:
        if body and row[0] != above[0] and keys > 1:
            body.append(r"\addlinespace")
        # A key that repeats the one above is left blank where both are on one page.
        same = [keys > 1 and not long and row[: i + 1] == above[: i + 1] for i in range(keys)]
        above = row[:keys]
        cells = ["" if i < keys and same[i] else cell for i, cell in enumerate(row)]
        body.append(" & ".join(cells) + r" \\")
    head = [r"\toprule", " & ".join(header) + r" \\", r"\midrule"]
    if long:
        begin = [
            "{\\footnotesize\\setlength{\\tabcolsep}{4pt}",
            f"\\begin{{longtable}}{{{columns}}}",
        ]
        begin += [f"{caption} \\\\", *head, r"\endfirsthead"]
        begin += [f"\\caption[]{{{title}, continued}} \\\\", *head, r"\endhead"]
        lines = [*begin, r"\bottomrule", r"\endfoot", *body, r"\end{longtable}}"]
    else:
        begin = [r"\begin{table}", r"\centering\footnotesize\setlength{\tabcolsep}{4pt}", caption]
        begin.append(f"\\begin{{tabular}}{{{columns}}}")
        lines = [*begin, *head, *body, r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def _longest(grid: list[list[str]]) -> list[int]:
    """Characters of each column's longest cell."""
    return [max(map(len, column)) for column in zip(*grid, strict=True)]


def _column(longest: int, key: bool) -> str:
    if longest <= WRAP:
        return "l" if key else "r"
    return f">{{\\raggedright\\arraybackslash}}p{{{WRAP * TEX_CM:.1f}cm}}"


def _panels(shown: pd.DataFrame) -> list[pd.DataFrame]:
    """The columns in as many parts as the width of a page asks for."""
    keys = shown.index.nlevels
    widths = [min(longest, WRAP) + 2 for longest in _longest(_grid(shown))]
    panels: list[list[str]] = []
    used = TEX_WIDTH
    for name, width in zip(shown.columns, widths[keys:], strict=True):
        if used + width > TEX_WIDTH:
            panels.append([])
            used = sum(widths[:keys])
        panels[-1].append(name)
        used += width
    return [shown[names] for names in panels]


def _grid(shown: pd.DataFrame) -> list[list[str]]:
    """Header and rows, keys first, all text, numbers as they are printed."""
    keys, frame = shown.index.nlevels, shown.reset_index()
    header, *rows = (list(map(str, row)) for row in [frame.columns, *frame.itertuples(index=False)])
    return [header, *([*row[:keys], *map(printed, row[keys:])] for row in rows)]


def printed(cell: str) -> str:
    """A cell with minus signs for hyphens in front of numbers, and a zero without a sign."""
    cell = re.sub(r"(?<![\w.)])[+-](0(?:\.0+)?)(?![\d.])", r"\1", cell)
    return re.sub(r"(?<![\w.)])-(?=\d)", "−", cell)


def _one_line(text: str) -> str:
    return " ".join(text.split())
