"""What the command-line scripts share: logging, and errors shown as one message."""

import argparse
import faulthandler
import logging
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from strata.errors import StrataError
from strata.integrity import Refused


def run(main: Callable[[argparse.Namespace], None], arguments: argparse.Namespace) -> None:
    """Runs `main(arguments)`; a StrataError or OSError ends the script with its message and exit
    status 1, an interrupt with one word and 130. A file that is refused is set aside.

    `arguments.log`, where there is one, is a file that receives what is also shown on stderr.
    """
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    log = getattr(arguments, "log", None)
    if log:
        Path(log).parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(log, mode="w", encoding="utf-8"))
    # A disk that fails under a mapped file is a signal, not an error: say at least where.
    faulthandler.enable()
    # Where there is no space for the log, what is shown says why; the log's own error doesn't.
    logging.raiseExceptions = False
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=handlers, force=True)
    try:
        main(arguments)
    except Refused as error:
        logging.error("error: %s", error.set_aside())
        sys.exit(1)
    except (StrataError, OSError) as error:  # OSError: no space left, no permission
        logging.error("error: %s", error)
        sys.exit(1)
    except KeyboardInterrupt:
        logging.error("interrupted")
        sys.exit(130)


def probing_on(device: str) -> AbstractContextManager:
    """The linear algebra of probes on a device of the configuration. For the CPU torch, which takes
    seconds to load, is not needed."""
    if device == "cpu":
        from strata.measures.algebra import NUMPY

        return nullcontext(NUMPY)
    from strata.extraction import machine

    return machine.probing_on(device)


def add_device_options(parser: argparse.ArgumentParser) -> None:
    """What an extraction runs on: its speed and its needs, not its results."""
    free = "GiB to use (default: nine tenths of what is free)"
    parser.add_argument("--device", default="auto")
    parser.add_argument("--cards", type=int, default=1, help="to share the work, if on cards")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch-tokens", type=int, help="default: as suits the device")
    parser.add_argument("--host-memory", type=float, help=free)
    parser.add_argument("--device-memory", type=float, help=free)
