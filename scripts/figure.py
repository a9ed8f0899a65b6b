"""One figure of a study: pdf and png."""

import argparse
import logging

import cli
from strata import figures
from strata.results import read_json, read_labels, read_metrics

# What each kind of figure asks for beside metrics, labels, lens, metric and style.
KINDS = {
    "overall_radar": (),
    "curves": ("task",),
    "calculation_radars": ("task", "kind", "digits"),
    "cross_lingual": ("task",),
}


def main(arguments: argparse.Namespace) -> None:
    # It would tell of every glyph it embeds.
    logging.getLogger("fontTools").setLevel(logging.WARNING)
    labels = read_labels(arguments.labels)
    figure = getattr(figures, arguments.figure)(
        read_metrics(arguments.metrics),
        labels,
        arguments.lens,
        arguments.metric,
        **{name: getattr(arguments, name) for name in KINDS[arguments.figure]},
        style=read_json(arguments.style, "style"),
    )
    figures.write_figure(figure, arguments.out)
    logging.info("%s: %s.pdf and .png", arguments.figure, arguments.out)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    kinds = parser.add_subparsers(dest="figure", required=True)
    for name, wanted in KINDS.items():
        kind = kinds.add_parser(name)
        for option in ("lens", "metric", *wanted):
            kind.add_argument(f"--{option}", required=True)
        kind.add_argument("--metrics", nargs="+", required=True, metavar="FILE")
        kind.add_argument("--labels", required=True, metavar="JSON", help="text or file")
        kind.add_argument("--style", default="{}", metavar="JSON", help="text or file")
        kind.add_argument("--out", required=True, metavar="STEM")
        kind.add_argument("--log")
    return parser.parse_args(argv)


if __name__ == "__main__":
    options = parse()
    cli.run(lambda: main(options), options.log)
