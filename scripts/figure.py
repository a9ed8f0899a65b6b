"""One figure of a study: pdf and png."""

import argparse
import logging

import cli
from strata.report import figures, paper_figures, probe_figures, training_figures
from strata.report.figures import write_figure
from strata.report.results import (
    read_json,
    read_labels,
    read_metrics,
    read_probes,
    read_published,
    read_transfer,
)

ROOMS = (figures, probe_figures, paper_figures, training_figures)
MAPPINGS = ("paper", "training")  # options that are JSON
READERS = {
    "metrics": read_metrics,
    "probes": read_probes,
    "transfer": read_transfer,
    "published": read_published,
}
# The files each kind of figure is drawn from, and what else it asks for beside labels and style.
KINDS = {
    "overall_radar": (("metrics",), ("lens", "metric")),
    "curves": (("metrics",), ("lens", "metric", "task")),
    "calculation_radars": (("metrics",), ("lens", "metric", "task", "kind", "digits")),
    "cross_lingual": (("metrics",), ("lens", "metric", "task")),
    "probe_curves": (("metrics", "probes"), ("lens", "probe", "task")),
    "readout": (("metrics", "probes"), ("lens", "task")),
    "emergence": (("metrics", "probes"), ("lens", "probe")),
    "transfer": (("transfer",), ("probe", "model")),
    "training": (("metrics",), ("lens", "metric", "training", "task")),
    "paper_comparison": (("metrics", "published"), ("paper", "task")),
}


def main(arguments: argparse.Namespace) -> None:
    # It would tell of every glyph it embeds.
    logging.getLogger("fontTools").setLevel(logging.WARNING)
    files, wanted = KINDS[arguments.figure]
    draw = next(
        getattr(room, arguments.figure) for room in ROOMS if hasattr(room, arguments.figure)
    )
    options = {name: getattr(arguments, name) for name in wanted}
    options |= {name: read_json(options[name], name) for name in MAPPINGS if name in options}
    figure = draw(
        *(READERS[name](getattr(arguments, name)) for name in files),
        read_labels(arguments.labels),
        **options,
        style=read_json(arguments.style, "style"),
    )
    write_figure(figure, arguments.out)
    logging.info("%s: %s.pdf and .png", arguments.figure, arguments.out)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    kinds = parser.add_subparsers(dest="figure", required=True)
    for name, (files, wanted) in KINDS.items():
        kind = kinds.add_parser(name)
        for option in wanted:
            kind.add_argument(f"--{option}", required=True)
        for option in files:
            kind.add_argument(f"--{option}", nargs="+", required=True, metavar="FILE")
        kind.add_argument("--labels", required=True, metavar="JSON", help="text or file")
        kind.add_argument("--style", default="{}", metavar="JSON", help="text or file")
        kind.add_argument("--out", required=True, metavar="STEM")
        kind.add_argument("--log")
    return parser.parse_args(argv)


if __name__ == "__main__":
    options = parse()
    cli.run(lambda: main(options), options.log)
