"""What `snakemake plan` has found, by which jobs ask for memory and time. Imports nothing heavy: it
is read while the Snakefile is parsed."""

import csv
import io
import logging
from pathlib import Path

from strata.errors import StrataError, brief
from strata.integrity import verified

COLUMNS = ("host_bytes", "seconds", "probe_bytes", "probe_seconds")


def read_plan(path: Path) -> dict[tuple[str, str], dict[str, float]]:
    """Bytes and seconds of each extraction and of its probes by (model, task), where the plan knows
    them.

    Nothing where there is no file, or a damaged one, which is said and left aside: a plan is no
    result, and without one jobs ask for what they would ask for anyway.
    """
    found = {}
    try:
        rows = csv.DictReader(io.StringIO(verified(path).decode(), newline=""), strict=True)
        if missing := {"model", "task", *COLUMNS}.difference(rows.fieldnames or ()):
            raise ValueError(f"it lacks {', '.join(sorted(missing))}")
        for row in rows:
            known = {key: float(row[key]) for key in COLUMNS if row[key] != ""}
            if not all(0 < value < 1e18 for value in known.values()):
                raise ValueError("a number that is none of bytes or seconds")
            found[row["model"], row["task"]] = known
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, csv.Error, StrataError) as error:
        said = brief(f"{type(error).__name__}: {error}")
        logging.warning(
            "%s is damaged and left aside (%s); `snakemake plan` makes it anew", path, said
        )
        return {}
    return found
