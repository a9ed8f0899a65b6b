"""Models of the Hugging Face hub, fetched into its cache and held to the hub's own hashes."""

import re
from pathlib import Path

from strata.errors import StrataError
from strata.integrity import hold_to_hub
from strata.models.gguf.header import part_names

WANTED: tuple[str, ...] = ("*.json", "*.safetensors", "tokenizer*", "*.model")
WANTED += ("merges.txt", "vocab.txt", "chat_template.jinja")
UNWANTED = ("consolidated*", "original/*")  # the same weights in another form


def fetch(
    hub: str, revision: str | None = None, weights: bool = True, file: str | None = None
) -> tuple[Path, str]:
    """Downloads a hub model (safetensors, tokenizer, configuration; or of `file`, a GGUF, all parts
    and nothing else) into the hub cache. revision: main, if not another.

    Returns its folder, or the file, and the commit. Raises StrataError when it cannot be had, or a
    file is not what the hub has.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils import filter_repo_objects

    revision = revision or "main"
    unwanted = list(UNWANTED if weights else (*UNWANTED, "*.safetensors"))
    wanted = list(WANTED)
    if file:
        wanted, unwanted = part_names(file), []
    try:
        folder = snapshot_download(
            hub, revision=revision, allow_patterns=wanted, ignore_patterns=unwanted
        )
    except Exception as error:  # the hub client has many kinds: network, gated, unknown, disk
        reason = str(error).strip().splitlines()[0]
        raise StrataError(
            f"the model {hub!r} (revision {revision}) cannot be fetched from the hub: {reason}\n"
            "Check the id and your network; a gated model needs `hf auth login` and its terms "
            "accepted; or download it elsewhere and give `path:` instead of `hub:`"
        ) from None
    names = [str(own.relative_to(folder)) for own in Path(folder).rglob("*") if own.is_file()]
    asked = filter_repo_objects(names, allow_patterns=wanted, ignore_patterns=unwanted)
    hold_to_hub(Path(folder, name) for name in asked)
    found = Path(folder, file or "")
    if file and not found.is_file():
        raise StrataError(f"the hub's {hub!r} (revision {revision}) has no file {file}")
    return found, Path(folder).name


def of_hub(where: str) -> bool:
    """Whether it is a hub id rather than a local folder."""
    return not Path(where).is_dir() and bool(re.fullmatch(r"[^/.][^/]*/[^/]+", where))
