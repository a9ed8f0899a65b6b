"""A split of a data set on the Hugging Face hub: fetched once, by `datasets`, at one commit, and
kept as a parquet file that says which. Nothing of a data set runs. Imports nothing heavy: where a
file will be is asked while the Snakefile is parsed.
"""

import json
import re
from pathlib import Path

from strata.errors import StrataError
from strata.integrity import sealed

FOLDER = Path("data/hub")
COMMIT = re.compile(r"[0-9a-f]{40}")
KEYS = ("hub", "config", "revision")  # and `split`: what a set is asked for by
DEFAULT = "default"  # a configuration without a name
NOTE = b"strata"  # of a parquet file's metadata


def set_of(options: dict, split: str | None) -> dict[str, str]:
    """What a split is asked for by. options: a task's entry, of one configuration."""
    if split is None:
        raise StrataError(f"{options['hub']}: say which `split:` of it is asked, such as test")
    return {**{key: options[key] for key in KEYS if options.get(key)}, "split": split}


def set_folder(own: dict) -> Path:
    """Where a data set is kept, for all studies: a folder a configuration, a file a split."""
    parts = own["hub"], own.get("revision") or "main"
    return FOLDER.joinpath(*(re.sub(r"[^\w.-]", "--", part) for part in parts))


def set_file(own: dict[str, str]) -> Path:
    """Where a split is kept."""
    return set_folder(own) / own.get("config", DEFAULT) / f"{own['split']}.parquet"


def fetch_set(own: dict[str, str], out: str | Path) -> str:
    """Brings a split to `out` and returns its commit, to which the revision is resolved first.

    Raises StrataError, and leaves `out` as it was, if `datasets` is not installed, or the set
    cannot be had, or would have to be built by Python of its own.
    """
    try:
        import datasets
        from pyarrow import parquet
    except ImportError as error:
        raise StrataError(
            f"a data set on the hub takes the package {error.name}, not installed here: "
            "`pip install strata[hub]`; or download the files and name them by `path:`"
        ) from None
    try:
        commit = _commit(own)
        rows = datasets.load_dataset(
            own["hub"], own.get("config"), split=own["split"], revision=commit
        )
    except Exception as error:  # of the network, the hub, the library, whose kinds are many
        reason = " ".join(str(error).split())[:300]
        raise StrataError(
            f"{_named(own)} cannot be had from the hub ({type(error).__name__}: {reason}). Without "
            "a network, download the data elsewhere and name the folder or file by `path:`"
        ) from None
    with sealed(out) as part:
        rows.to_parquet(part)
        table = parquet.read_table(part)
        note = json.dumps({**own, "commit": commit, "rows": table.num_rows}).encode()
        parquet.write_table(table.replace_schema_metadata({NOTE: note}), part)
    return commit


def _commit(own: dict[str, str]) -> str:
    revision = own.get("revision", "main")
    if COMMIT.fullmatch(revision):
        return revision
    from huggingface_hub import HfApi

    return str(HfApi().dataset_info(own["hub"], revision=revision).sha)


def commit_of(path: str | Path) -> str:
    """The commit that a kept split is of. Raises StrataError where the file does not say."""
    from pyarrow import ArrowException, parquet

    try:
        note = json.loads(parquet.read_schema(path).metadata[NOTE])
        return str(note["commit"])
    except (ArrowException, OSError, KeyError, TypeError, ValueError):
        raise StrataError(f"{path} does not say of which commit it is; delete it") from None


def _named(own: dict[str, str]) -> str:
    return " ".join(f"{key} {own[key]}" for key in (*KEYS, "split") if key in own)
