"""Whether two checkouts give the same study: every result byte by byte, and the jobs of a dry run.

Run the study in both before. Dates inside a pdf are left aside, in HDF5 files data and attributes
count but not bytes, and of the report the files it holds; logs, benchmarks, what is unfinished
and what was asked for are no results, nor is what says on what and by which commit they were made.
Exits with 1 where something differs.
"""

import argparse
import base64
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cli
from strata.errors import StrataError
from strata.study import NO_RESULTS

# What two checkouts have in common in none of their studies.
MADE_ON, PROVENANCE = "made_on", ("provenance.json", "provenance.html")
DATES = re.compile(rb"/(CreationDate|ModDate) ?\([^)]*\)")


def main(arguments: argparse.Namespace) -> None:
    before, after = arguments.before, arguments.after
    folders = [Path(checkout, "results", arguments.study) for checkout in (before, after)]
    differences = [*compare_folders(*folders)]
    if not arguments.files_alone:
        differences += compare_jobs(before, after, arguments.configfile)
    for difference in differences:
        print(difference)
    count = len(files_of(folders[1]))
    print(f"{count} files, {len(differences)} differences")
    sys.exit(bool(differences))


def compare_folders(before: Path, after: Path) -> Iterator[str]:
    """What is missing, new or different among the results of two folders, a line each."""
    old, new = files_of(before), files_of(after)
    if not old:
        raise StrataError(f"{before} holds no results; run the study there first")
    yield from (f"missing: {name}" for name in sorted(old - new))
    yield from (f"new: {name}" for name in sorted(new - old))
    for name in sorted(old & new):
        if content(before / name) != content(after / name):
            yield f"different: {name}"


def files_of(folder: Path) -> set[str]:
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {
        str(path)
        for path in paths
        if path.parts[0] not in (*NO_RESULTS, *PROVENANCE)
        and path.suffix not in (".sha256", ".refused")
    }


def content(path: Path) -> object:
    """What of a file must be the same."""
    if path.suffix == ".h5":
        return hdf5(path)
    if path.name == "report.html":
        return reported(path.read_text(encoding="utf-8"))
    return DATES.sub(b"", path.read_bytes())


def hdf5(path: Path) -> dict:
    import h5py

    found = {}
    with h5py.File(path) as file:

        def visit(name: str, node) -> None:
            data = node[()].tobytes() if isinstance(node, h5py.Dataset) else None
            if data is not None and node.dtype.hasobject:
                data = tuple(node[()].tolist())
            found[name] = (
                data,
                {key: str(value) for key, value in node.attrs.items() if key != MADE_ON},
            )

        visit("/", file)
        file.visititems(visit)
    return found


def reported(page: str) -> dict[str, bytes]:
    """Every file that a report holds, and the words beside it."""
    held = json.loads(re.search(r"^ *var results = ({.*});$", page, re.M).group(1))
    return {
        path: (
            base64.b64decode(entry["data_uri"].partition("base64,")[2]),
            entry.get("category"),
            entry.get("subcategory"),
            entry.get("labels"),
        )
        for path, entry in held.items()
        if Path(path).name not in PROVENANCE
    }


def compare_jobs(before: Path, after: Path, configfile: list[str]) -> Iterator[str]:
    """Rules whose number of jobs in a dry run of everything differs, a line each."""
    old, new = (jobs(checkout, configfile) for checkout in (before, after))
    for rule in sorted(old.keys() | new.keys()):
        if old.get(rule) != new.get(rule):
            yield f"jobs of {rule}: {old.get(rule, 0)} before, {new.get(rule, 0)} after"


def jobs(checkout: Path, configfile: list[str]) -> dict[str, int]:
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--forceall", "--nolock"]
    command += ["--cores", "1", *(["--configfile", *configfile] if configfile else [])]
    done = subprocess.run(
        command, cwd=checkout, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    table = re.search(r"^job +count\n-+ +-+\n(.*?)^total", done.stdout, re.M | re.S)
    if table is None:
        raise StrataError(f"{checkout}: a dry run lists no jobs\n{done.stdout}")
    rows = (line.rsplit(None, 1) for line in table.group(1).splitlines())
    return {name: int(count) for name, count in rows}


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path, help="a checkout in which the study was run")
    parser.add_argument("after", type=Path, help="another")
    parser.add_argument("--study", default="embedded", help="folder below results")
    parser.add_argument("--configfile", nargs="*", default=[], help="of the study, for the jobs")
    parser.add_argument("--files-alone", action="store_true", help="list no jobs")
    return parser.parse_args(argv)


if __name__ == "__main__":
    cli.run(main, parse())
