"""Fits probes on the dumps of a (model, task), layer by layer, and scores them."""

import argparse
import json
from dataclasses import replace

import cli
from strata import STAGES, __version__
from strata.asked import probes_asked
from strata.errors import StrataError
from strata.integrity import Refused, extraction_of, sealed
from strata.items import read_items
from strata.measures.probe_rows import probe_table
from strata.measures.probing import Plan, probe_task
from strata.store import Dump, read_dump, read_scores, write_decisions


def main(arguments: argparse.Namespace) -> None:
    plan = Plan(**json.loads(arguments.plan))
    scores = read_scores(arguments.scores)
    items = read_items(arguments.items) if arguments.calculation else None
    own = extraction_of(scores.attributes)

    def read(dump: tuple[int, str]) -> Dump:
        layer, path = dump
        return read_dump(path, {**own, "layer": layer})

    layers = scores.looked_at
    if len(layers) != len(arguments.dumps):
        raise StrataError(
            f"{arguments.scores} is of {len(layers)} layers, not as many as the dumps"
        )
    try:
        dumps = list(zip(layers, arguments.dumps, strict=True))
        with cli.probing_on(arguments.device) as algebra:
            decisions = probe_task(scores, dumps, plan, items, arguments.threads, read, algebra)
    except Refused:
        raise
    except StrataError as error:
        raise StrataError(f"{arguments.model}, {arguments.task}: {error}") from None
    attributes = decisions.scores.attributes | {
        "seed": plan.seed,
        "folds": plan.folds,
        "penalties": plan.penalties,
        "probe_version": f"{__version__}, probes {STAGES['probes']}",
        "asked": json.dumps(
            probes_asked(json.loads(arguments.plan), arguments.calculation, decisions.looked_at)
        ),
    }
    decisions = replace(decisions, attributes=attributes)
    table = probe_table(decisions, arguments.model, arguments.task)
    write_decisions(arguments.decisions, decisions)
    with sealed(arguments.out) as part:
        table.to_csv(part, index=False)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--task", required=True)
    parser.add_argument("--scores", required=True, help="HDF5 file of scores")
    parser.add_argument("--dumps", nargs="+", required=True, help="HDF5 files, a layer each")
    parser.add_argument("--items", required=True, help="the task's items, from prepare.py")
    parser.add_argument("--calculation", action="store_true", help="read off results, operations")
    parser.add_argument("--plan", required=True, help="the study's `probes`, as JSON")
    parser.add_argument("--threads", type=int, default=1, help="layers side by side")
    parser.add_argument("--device", default="cpu", help="where they are fitted")
    parser.add_argument("--decisions", required=True, help="HDF5 file of decision values to write")
    parser.add_argument("--out", required=True, help="csv to write")
    parser.add_argument("--log")
    return parser.parse_args(argv)


if __name__ == "__main__":
    cli.run(main, parse())
