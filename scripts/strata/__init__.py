"""Strata: probes language models across scales and layers. Knows nothing of Snakemake."""

__version__ = "0.1.0"

# Raised by hand when a stage's results change, and only then: the workflow reruns a stage, and
# what stands on it, when its number changes. Editing code alone reruns nothing.
STAGES = {
    "prepare": 3,
    "describe": 1,
    "extract": 5,
    "untrained": 1,
    "metrics": 3,
    "probes": 4,
    "tables": 7,
    "figures": 7,
}
