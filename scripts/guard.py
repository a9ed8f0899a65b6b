"""Holds every configuration to strata.configfiles before Snakemake reads it.

The profiles call it: nothing of ours is asked earlier, and the Snakefile is read after the files of
the command line.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from snakemake.common import configfile

from strata.configfiles import check_file, check_given
from strata.errors import StrataError


def guard(arguments: Sequence[str]) -> None:
    """Ends the process with a message for a file that is no configuration: at once for those of the
    command line, and when it is read for one that is named elsewhere, as by another profile."""
    _or_end(check_given, arguments)
    read = configfile._load_configfile

    def checked(file, filetype="Config"):
        if isinstance(file, (str, Path)):
            _or_end(check_file, Path(file))
        return read(file, filetype)

    configfile._load_configfile = checked


def _or_end(check, given) -> None:
    try:
        check(given)
    except StrataError as error:
        sys.exit(f"error: {error}")
