"""The real data, where this machine has it: a mirror folder beside the project, or another."""

import os
from pathlib import Path

import pytest

MIRROR = Path(os.environ.get("STRATA_MIRROR") or Path(__file__).parents[2] / "shared" / "datasets")
SHARED_MODELS = Path(__file__).parents[2] / "shared" / "models"

needs_mirror = pytest.mark.skipif(
    not (MIRROR / "llama_analysis").is_dir(),
    reason="the paper's data is not here (no ../shared/datasets, no STRATA_MIRROR)",
)
needs_stories = pytest.mark.skipif(
    not (SHARED_MODELS / "stories260K").is_dir(), reason="no ../shared/models/stories260K"
)
