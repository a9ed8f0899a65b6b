"""One table of a study: csv, md and tex."""

import argparse
import logging

import pandas as pd

import cli
from strata.report import paper_tables, probe_tables, tables
from strata.report.results import (
    read_comparisons,
    read_json,
    read_labels,
    read_metrics,
    read_probes,
    read_published,
    read_transfer,
)

# The files each table is made of, and what else it asks for beside labels; decisions and floors
# may be none.
TABLES = {
    "overall": (("metrics",), ("lens", "metric")),
    "layers": (("metrics",), ("lens", "metric", "model")),
    "calculation": (("metrics",), ("lens", "metric")),
    "cross_lingual": (("metrics",), ("lens", "metric")),
    "audit": (("audits",), ()),
    "extraction": (("scores",), ()),
    "comparisons": (("scores", "decisions"), ("lens", "metric", "probe")),
    "probes": (("probes",), ("probe",)),
    "lens_vs_probe": (("metrics", "probes", "comparisons"), ("lens", "probe")),
    "emergence": (("metrics", "probes"), ("lens", "probe")),
    "transfer": (("transfer",), ("probe",)),
    "training": (("metrics",), ("lens", "metric", "training")),
    "paper_comparison": (("metrics", "published"), ("paper",)),
    "findings": (("scores", "floors", "models"), ("lens", "metric", "sources")),
}
MAPPINGS = ("paper", "sources", "training")  # options that are JSON
ROOMS = (tables, probe_tables, paper_tables)
READERS = {
    "metrics": read_metrics,
    "probes": read_probes,
    "transfer": read_transfer,
    "audits": list,
    "scores": lambda paths: read_by_pair(paths, "scores"),
    "floors": lambda paths: read_by_pair(paths, "scores"),
    "models": list,
    "decisions": lambda paths: read_by_pair(paths, "decisions"),
    "comparisons": read_comparisons,
    "published": read_published,
}


def main(arguments: argparse.Namespace) -> None:
    files, wanted = TABLES[arguments.table]
    given = [READERS[name](getattr(arguments, name)) for name in files]
    labels = read_labels(arguments.labels)
    options = {name: getattr(arguments, name) for name in wanted}
    options |= {name: read_json(options[name], name) for name in MAPPINGS if name in options}
    if arguments.table == "comparisons":
        table = tables.comparisons_table(compared(*given, **options), labels)
    elif arguments.table == "findings":
        lens = options.pop("lens")
        table = paper_tables.findings_table(found(*given, **options), labels, lens)
    else:
        name = f"{arguments.table}_table"
        make = next(getattr(room, name) for room in ROOMS if hasattr(room, name))
        table = make(*given, labels, **options)
    tables.write_table(table, arguments.out)
    logging.info("%s: %d rows in %s.csv", arguments.table, len(table.tidy), arguments.out)


def read_by_pair(paths: list[str], what: str) -> dict:
    """Scores or decisions by (model, task)."""
    from strata import store

    read = map(getattr(store, f"read_{what}"), paths)
    return {(own.attributes["model"], own.attributes["task"]): own for own in read}


def compared(scores: dict, decisions: dict, lens: str, metric: str, probe: str) -> pd.DataFrame:
    """The study's lens and metric, and where there are probes MC1 of the probe and of the lens."""
    from strata.measures.metrics import Reader, comparisons
    from strata.measures.probing import as_scores

    by_probe = {pair: as_scores(own, "residual", probe) for pair, own in decisions.items()}
    return comparisons(
        Reader(lens, metric, scores), Reader(probe, "mc1", by_probe) if by_probe else None
    )


def found(scores: dict, floors: dict, models: list, metric: str, sources: dict) -> pd.DataFrame:
    from strata.measures.findings import Evidence, findings
    from strata.models.checkpoint import read_info

    # Parameters of a model but for its embedding grow as layers times width squared.
    sizes = {info.name: info.layers * info.d_model**2 for info in map(read_info, models)}
    return findings(Evidence(scores, floors, sizes, sources, metric))


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    kinds = parser.add_subparsers(dest="table", required=True)
    for name, (files, wanted) in TABLES.items():
        kind = kinds.add_parser(name)
        for option in files:
            kind.add_argument(f"--{option}", nargs="*", required=True, metavar="FILE")
        for option in wanted:
            kind.add_argument(f"--{option}", required=True)
        kind.add_argument("--labels", required=True, metavar="JSON", help="text or file")
        kind.add_argument("--out", required=True, metavar="STEM")
        kind.add_argument("--log")
    return parser.parse_args(argv)


if __name__ == "__main__":
    options = parse()
    cli.run(lambda: main(options), options.log)
