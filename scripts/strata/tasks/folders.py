"""The folder of a data set: as `datasets` saves one (save_to_disk), or its files as they are on the
Hugging Face hub, by configuration and split. Imports nothing heavy: files are listed while the
Snakefile is parsed.
"""

import itertools
import json
import re
from collections.abc import Sequence
from pathlib import Path

from strata.errors import StrataError

DATA = (".parquet", ".arrow", ".jsonl", ".json", ".csv", ".tsv")
MOST = 20_000  # files and folders that are looked at for those of a split
# What a file of a split may be called, as the hub's own rules have it.
NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}


def _words(split: str) -> str:
    """A pattern of what names a split in a file's name."""
    return rf"(^|[/._-])({'|'.join(map(re.escape, NAMES.get(split, (split,))))})(?=[/._-]|$)"


def part_of(file: Path, split: str | None) -> str:
    """Of which part a file is, by its name, where a split is a file a part (a subject, a language):
    `abstract_algebra_test.csv`, of the split test, of abstract_algebra. Empty for none."""
    name = re.sub(r"-\d+-of-\d+$", "", file.name.split(".")[0])
    return re.sub(_words(split), "", name).strip("._-") if split else name


def files_of(folder: Path, split: str | None = None, config: str | None = None) -> list[Path]:
    """The files of a split, in their order. split: may be left out where no file is called by one;
    config: the folder in which the data set has its files of this name.

    Raises StrataError, saying what there is, where it is not clear which files are meant.
    """
    if config is not None:
        if not (folder / config).is_dir():
            raise _unknown(folder, "config", config, [own.name for own in folder.iterdir()])
        folder = folder / config
    if (folder / "dataset_dict.json").is_file():
        splits = _json(folder / "dataset_dict.json", "splits", list)
        if split not in splits and (split is not None or len(splits) != 1):
            raise _unknown(folder, "split", split, splits)
        return _saved(folder / (split or splits[0]))
    if (folder / "state.json").is_file():
        own = _json(folder / "state.json", "_split", (str, type(None)))
        if split not in (None, own):
            raise _unknown(folder, "split", split, [own])
        return _saved(folder)
    return _published(folder, split)


def _saved(folder: Path) -> list[Path]:
    """The files of what `datasets` saved."""
    path = folder / "state.json"
    if _json(path, "_indices_data_files", (list, type(None))):
        raise StrataError(
            f"{folder} holds a choice of rows as an old version of `datasets` saved it; load it "
            "and save it again (`flatten_indices()`, `save_to_disk`)"
        )
    listed = _json(path, "_data_files", list)
    try:
        return [folder / own["filename"] for own in listed]
    except (KeyError, TypeError):
        raise StrataError(f"{path} is damaged: its _data_files are no files") from None


def _published(folder: Path, split: str | None) -> list[Path]:
    """Files by their names: `test.jsonl`, `data/test-00000-of-00001.parquet`."""
    try:
        found = list(itertools.islice(folder.rglob("*"), MOST + 1))
        if len(found) > MOST:
            raise StrataError(
                f"{folder} has more than {MOST} files and folders in it; name the folder of one "
                "data set"
            )
        files = sorted(path for path in found if path.is_file() and _holds_data(path.name))
    except OSError as error:
        raise StrataError(f"{folder} cannot be looked through: {error}") from None
    names = [str(path.relative_to(folder)) for path in files]
    if split is None:
        splits = [name for name in names if any(re.search(_words(own), name) for own in NAMES)]
        if len(files) != 1 and (splits or len({path.parent for path in files}) != 1):
            raise _unknown(folder, "split", split, names)
        return files
    exact = [path for path in files if path.name.split(".")[0] == split]
    pattern = re.compile(_words(split))
    found = exact or [path for path, name in zip(files, names, strict=True) if pattern.search(name)]
    if not found:
        raise _unknown(folder, "split", split, names)
    if len({path.parent for path in found}) > 1:
        folders = sorted({str(path.parent.relative_to(folder)) for path in found})
        raise _unknown(folder, "config", None, folders)
    return found


def _holds_data(name: str) -> bool:
    return bool(set(DATA) & set(Path(name).suffixes)) and not name.startswith(".")


def _json(path: Path, key: str, kind):
    """A value of a JSON object, None where it is not there."""
    try:
        value = json.loads(path.read_text(encoding="utf-8")).get(key)
    except (OSError, ValueError, AttributeError) as error:
        raise StrataError(f"{path} cannot be read as what `datasets` saves ({error})") from None
    if not isinstance(value, kind):
        raise StrataError(f"{path} is damaged: its {key} is {value!r}")
    return value


def _unknown(folder: Path, key: str, found: str | None, there: Sequence[object]) -> StrataError:
    listed = ", ".join(map(str, there[:12])) or "nothing that holds data"
    said = f"has no {key} {found!r}" if found else f"may be asked in several ways: say its `{key}:`"
    return StrataError(f"{folder} {said}; there is {listed}")
