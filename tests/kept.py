"""A data set of the hub where it is kept, as fetch_set would have brought it."""

import json
from pathlib import Path

import pytest

from strata.tasks.hub import NOTE

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def keep(path: str | Path, own: dict, rows: list[dict]) -> Path:
    """own: what the set is asked for by. Skips where there is no pyarrow."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    Path(path).parent.mkdir(parents=True, exist_ok=True)
    note = {NOTE: json.dumps({**own, "commit": COMMIT})}
    parquet.write_table(pyarrow.Table.from_pylist(rows).replace_schema_metadata(note), path)
    return Path(path)
