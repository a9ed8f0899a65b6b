"""One table of a study: csv, md and tex."""

import argparse
import logging

import cli
from strata import tables
from strata.results import read_labels, read_metrics

METRICS_TABLES = ("overall", "layers", "calculation", "cross_lingual")
SCORES_TABLES = ("extraction", "comparisons")


def main(arguments: argparse.Namespace) -> None:
    labels = read_labels(arguments.labels) if arguments.labels else None
    if arguments.table == "audit":
        table = tables.audit_table(arguments.audits, labels)
    elif arguments.table in SCORES_TABLES:
        table = from_scores(arguments, labels)
    else:
        given = (read_metrics(arguments.metrics), labels, arguments.lens, arguments.metric)
        if arguments.table == "layers":
            table = tables.layers_table(*given, arguments.model)
        else:
            table = getattr(tables, f"{arguments.table}_table")(*given)
    tables.write_table(table, arguments.out)
    logging.info("%s: %d rows in %s.csv", arguments.table, len(table.tidy), arguments.out)


def from_scores(arguments: argparse.Namespace, labels: dict) -> tables.Table:
    from strata.metrics import comparisons
    from strata.store import read_scores

    read = map(read_scores, arguments.scores)
    scores = {(own.attributes["model"], own.attributes["task"]): own for own in read}
    if arguments.table == "extraction":
        return tables.extraction_table(scores, labels)
    shown = arguments.lens, arguments.metric
    return tables.comparisons_table(comparisons(scores, *shown), labels, *shown)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    kinds = parser.add_subparsers(dest="table", required=True)
    for name in (*METRICS_TABLES, *SCORES_TABLES, "audit"):
        kind = kinds.add_parser(name)
        kind.add_argument("--out", required=True, metavar="STEM")
        kind.add_argument("--labels", required=name != "audit", metavar="JSON", help="text or file")
        kind.add_argument("--log")
        inputs = {"audit": "audits", "extraction": "scores", "comparisons": "scores"}
        kind.add_argument(
            f"--{inputs.get(name, 'metrics')}", nargs="+", required=True, metavar="FILE"
        )
        if name not in ("audit", "extraction"):
            kind.add_argument("--lens", required=True)
            kind.add_argument("--metric", required=True)
        if name == "layers":
            kind.add_argument("--model", required=True)
    return parser.parse_args(argv)


if __name__ == "__main__":
    options = parse()
    cli.run(lambda: main(options), options.log)
