"""Makes of Snakemake's report a page in which no text of the study can run.

Snakemake writes labels, captions and settings as JSON into scripts of the page, where the browser
ends a script at </script>, whatever stands around it. In JSON, < stands in texts alone and may be
written \\u003c: the same text, but no end and no beginning of a script.
"""

import argparse
import re
from pathlib import Path

import cli
from strata.errors import StrataError
from strata.files import atomic
from strata.integrity import verify_folder

NAMES = (
    *("workflow_desc", "results", "categories", "rulegraph_spec", "runtimes_spec", "timeline_spec"),
    *("rules", "packages", "metadata"),
)
# JSON is on one line, so that no text in it can look like the line above.
HELD = re.compile(rf"^( *<script id=.*>\n *var (?:{'|'.join(NAMES)}) = )(.*)(;)$", re.M)


def main(arguments: argparse.Namespace) -> None:
    page = Path(arguments.page)
    for folder in arguments.shown:  # as written, or the page is not
        verify_folder(folder)
    text = sealed(page.read_text(encoding="utf-8"))
    with atomic(arguments.out) as part:
        part.write_text(text, encoding="utf-8")
    page.unlink()


def sealed(page: str) -> str:
    """The page with every < of its JSON escaped. Raises StrataError where it is not of the known
    form."""
    made, count = HELD.subn(lambda held: held[1] + held[2].replace("<", "\\u003c") + held[3], page)
    if count != len(NAMES):
        raise StrataError(
            f"the report is not of the known form: {count} of {len(NAMES)} parts found; is this "
            "the Snakemake that pyproject.toml pins?"
        )
    return made


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", required=True, help="the page as Snakemake wrote it; deleted")
    parser.add_argument("--shown", nargs="*", default=[], help="folders of what it holds")
    parser.add_argument("--out", required=True, help="page to write")
    parser.add_argument("--log")
    return parser.parse_args(argv)


if __name__ == "__main__":
    cli.run(main, parse())
