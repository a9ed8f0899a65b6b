"""Strata: probes language models across scales and layers. Knows nothing of Snakemake.

    import strata
    study = strata.open("results/embedded")
    scores = strata.score(model, tokenizer, items)

docs/library.md has what there is.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Raised by hand when a stage's results change, and only then: the workflow reruns a stage, and
# what stands on it, when its number changes. Editing code alone reruns nothing.
STAGES = {
    "prepare": 3,
    "describe": 1,
    "extract": 6,
    "untrained": 1,
    "metrics": 5,
    "probes": 6,
    "tables": 10,
    "figures": 10,
    "explorer": 3,
}

# What a reader of results or a program imports, by the module it is in. None is imported before it
# is asked for: they bring torch, which a Snakefile that is parsed does without.
PUBLIC = {
    "open": ("strata.results", "Results"),
    "score": ("strata.library", "score"),
    "activations": ("strata.library", "activations"),
    "lens": ("strata.library", "lens"),
    "probe": ("strata.library", "probe"),
    "make_items": ("strata.library", "make_items"),
    "Options": ("strata.library", "Options"),
    "metrics": ("strata.library", "metrics"),
    "Item": ("strata.items", "Item"),
    "Scores": ("strata.store", "Scores"),
    "Dump": ("strata.store", "Dump"),
    "StrataError": ("strata.errors", "StrataError"),
}


def __getattr__(name: str) -> Any:
    if name not in PUBLIC:
        raise AttributeError(f"module 'strata' has no attribute {name!r}")
    module, own = PUBLIC[name]
    return getattr(import_module(module), own)


def __dir__() -> list[str]:
    return sorted([*globals(), *PUBLIC])
