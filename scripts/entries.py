"""What table.py and figure.py share: an entry of the catalogue, asked for on the command line."""

import argparse
from pathlib import Path

from strata.errors import StrataError
from strata.files import file_hash
from strata.integrity import hold
from strata.report.catalogue import CATALOGUE
from strata.report.entry import FORMS, MAPPINGS, OPTIONAL, SCORED
from strata.report.frames import READERS, read_json, read_labels, read_tasks


def parse(kind: str, argv: list[str] | None, about: str | None) -> argparse.Namespace:
    """What a table or figure of the catalogue is asked for with, a subcommand an entry."""
    parser = argparse.ArgumentParser(description=about)
    entries = parser.add_subparsers(dest="entry", required=True)
    for entry in CATALOGUE[kind].values():
        own = entries.add_parser(entry.name, help=entry.shows.replace("%", "%%"))
        for name in entry.files:
            nargs = "*" if name in OPTIONAL else "+"
            needed = name not in OPTIONAL
            own.add_argument(f"--{name}", nargs=nargs, required=needed, default=[], metavar="FILE")
        for name in (*entry.over, *entry.options):
            own.add_argument(f"--{name}", required=True)
        if entry.scored:
            own.add_argument("--lenses", type=str.split, help="of those in the files; default: all")
            own.add_argument("--jsonl", nargs="+", required=True, metavar="FILE", help="items")
        own.add_argument("--labels", required=True, metavar="JSON", help="text or file")
        if kind == "figure":
            own.add_argument("--style", default="{}", metavar="JSON", help="text or file")
        own.add_argument("--out", required=True, metavar="FILE", help="one of the files to write")
        own.add_argument("--log")
    return parser.parse_args(argv)


def make(kind: str, arguments: argparse.Namespace, **more: object) -> object:
    """What the function of an entry makes of the files and options it is asked for with."""
    entry = CATALOGUE[kind][arguments.entry]
    given = [_read(name, arguments) for name in entry.files]
    options = {name: getattr(arguments, name) for name in (*entry.over, *entry.options)}
    options |= {name: read_json(options[name], name) for name in MAPPINGS if name in options}
    return entry.function(*given, read_labels(arguments.labels), **options, **more)


def _read(name: str, arguments: argparse.Namespace):
    found = READERS[name](getattr(arguments, name))
    if name not in SCORED:
        return found
    from strata.measures.metrics import with_lengths  # most tables and figures need no HDF5

    items = read_tasks(arguments.jsonl)
    hashes = {Path(path).stem: file_hash(path) for path in arguments.jsonl}
    for path, own in zip(getattr(arguments, name), found.values(), strict=True):
        if "task_hash" in own.attributes:
            hold(path, own.attributes, {"task_hash": hashes.get(own.attributes["task"])})
    return {
        (model, task): with_lengths(own.with_lenses(arguments.lenses or own.logprob), items[task])
        for (model, task), own in found.items()
    }


def stem(kind: str, out: str) -> Path:
    """A file to be written without its suffix, which the others have instead of it."""
    path = Path(out)
    if path.suffix[1:] not in FORMS[kind]:
        forms = ", ".join(f".{form}" for form in FORMS[kind])
        raise StrataError(f"--out {out}: name one of the files to write, which end in {forms}")
    return path.with_suffix("")
