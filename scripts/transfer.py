"""One model's probes, each fitted on one task and read on every other."""

import argparse
import json
from pathlib import Path

import cli
from strata.integrity import extraction_of, sealed
from strata.measures.probing import Plan
from strata.measures.transfer import transfer_table
from strata.store import Dump, read_decisions, read_dump


def main(arguments: argparse.Namespace) -> None:
    decisions = {Path(path).stem: read_decisions(path) for path in arguments.decisions}
    dumps: dict[str, list[str]] = {}
    for path in arguments.dumps:
        dumps.setdefault(Path(path).parent.name, []).append(path)

    def read(task: str, row: int) -> Dump:
        own = extraction_of(decisions[task].attributes)
        return read_dump(dumps[task][row], {**own, "layer": decisions[task].looked_at[row]})

    plan = Plan(**json.loads(arguments.plan))
    with cli.probing_on(arguments.device) as algebra:
        table = transfer_table(decisions, read, arguments.model, plan, arguments.threads, algebra)
    with sealed(arguments.out) as part:
        table.to_csv(part, index=False)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--decisions", nargs="+", required=True, help="{task}.h5 of probe.py")
    parser.add_argument("--dumps", nargs="+", required=True, help="{task}/layer_{layer}.h5, sorted")
    parser.add_argument("--plan", required=True, help="the study's `probes`, as JSON")
    parser.add_argument("--threads", type=int, default=1, help="tasks to fit on side by side")
    parser.add_argument("--device", default="cpu", help="where they are fitted")
    parser.add_argument("--out", required=True, help="csv to write")
    parser.add_argument("--log")
    return parser.parse_args(argv)


if __name__ == "__main__":
    cli.run(main, parse())
