"""Fits probes on the dumps of a (model, task), layer by layer, and scores them."""

import argparse
import json
from dataclasses import replace

import cli
from strata import STAGES, __version__
from strata.errors import StrataError
from strata.files import atomic
from strata.items import read_items
from strata.measures.probing import Plan, probe_table, probe_task
from strata.store import read_dump, read_scores, write_decisions


def main() -> None:
    plan = Plan(**json.loads(args.plan))
    scores = read_scores(args.scores)
    items = read_items(args.items) if args.calculation else None
    try:
        decisions = probe_task(scores, map(read_dump, args.dumps), plan, items)
    except StrataError as error:
        raise StrataError(f"{args.model}, {args.task}: {error}") from None
    attributes = scores.attributes | {
        "seed": plan.seed,
        "folds": plan.folds,
        "penalties": plan.penalties,
        "probe_version": f"{__version__}, probes {STAGES['probes']}",
    }
    decisions = replace(decisions, attributes=attributes)
    table = probe_table(decisions, args.model, args.task, plan)
    write_decisions(args.decisions, decisions)
    with atomic(args.out) as part:
        table.to_csv(part, index=False)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--task", required=True)
    parser.add_argument("--scores", required=True, help="HDF5 file of scores")
    parser.add_argument("--dumps", nargs="+", required=True, help="HDF5 files, layer 0 to the last")
    parser.add_argument("--items", required=True, help="the task's items, from prepare.py")
    parser.add_argument("--calculation", action="store_true", help="read off results, operations")
    parser.add_argument("--plan", required=True, help="the study's `probes`, as JSON")
    parser.add_argument("--decisions", required=True, help="HDF5 file of decision values to write")
    parser.add_argument("--out", required=True, help="csv to write")
    parser.add_argument("--log")
    args = parser.parse_args()
    cli.run(main, args.log)
