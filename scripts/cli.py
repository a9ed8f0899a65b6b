"""What the command-line scripts share: logging, and errors shown as one message."""

import argparse
import faulthandler
import logging
import sys
from collections.abc import Callable
from pathlib import Path

from strata.errors import StrataError
from strata.names import WEIGHTS
from strata.report.catalogue import CATALOGUE, MAPPINGS, OPTIONAL


def run(main: Callable[[argparse.Namespace], None], arguments: argparse.Namespace) -> None:
    """Runs `main(arguments)`; a StrataError or OSError ends the script with its message and exit
    status 1, an interrupt with one word and 130.

    `arguments.log`, where there is one, is a file that receives what is also shown on stderr.
    """
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    log = getattr(arguments, "log", None)
    if log:
        Path(log).parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(log, mode="w", encoding="utf-8"))
    # A disk that fails under a mapped file is a signal, not an error: say at least where.
    faulthandler.enable()
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=handlers, force=True)
    try:
        main(arguments)
    except (StrataError, OSError) as error:  # OSError: no space left, no permission
        logging.error("error: %s", error)
        sys.exit(1)
    except KeyboardInterrupt:
        logging.error("interrupted")
        sys.exit(130)


def add_device_options(parser: argparse.ArgumentParser) -> None:
    """What an extraction runs on: its speed and its needs, not its results."""
    free = "GiB to use (default: nine tenths of what is free)"
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch-tokens", type=int, help="default: as suits the device")
    parser.add_argument("--weights", choices=WEIGHTS, default="auto")
    parser.add_argument("--host-memory", type=float, help=free)
    parser.add_argument("--device-memory", type=float, help=free)


def parse_entry(kind: str, argv: list[str] | None, about: str | None) -> argparse.Namespace:
    """What a table or figure of the catalogue is asked for with, a subcommand an entry."""
    parser = argparse.ArgumentParser(description=about)
    entries = parser.add_subparsers(dest="entry", required=True)
    for entry in CATALOGUE[kind].values():
        own = entries.add_parser(entry.name, help=entry.shows.replace("%", "%%"))
        for name in entry.files:
            nargs = "*" if name in OPTIONAL else "+"
            own.add_argument(f"--{name}", nargs=nargs, required=True, metavar="FILE")
        for name in (*entry.over, *entry.options):
            own.add_argument(f"--{name}", required=True)
        own.add_argument("--labels", required=True, metavar="JSON", help="text or file")
        if kind == "figure":
            own.add_argument("--style", default="{}", metavar="JSON", help="text or file")
        own.add_argument("--out", required=True, metavar="FILE", help="one of the files to write")
        own.add_argument("--log")
    return parser.parse_args(argv)


def make_entry(kind: str, arguments: argparse.Namespace, **more: object) -> object:
    """What the function of an entry makes of the files and options it is asked for with."""
    from strata.report.frames import READERS, read_json, read_labels

    entry = CATALOGUE[kind][arguments.entry]
    given = [READERS[name](getattr(arguments, name)) for name in entry.files]
    options = {name: getattr(arguments, name) for name in (*entry.over, *entry.options)}
    options |= {name: read_json(options[name], name) for name in MAPPINGS if name in options}
    return entry.function(*given, read_labels(arguments.labels), **options, **more)
