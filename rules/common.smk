# Paths and look-ups that the rules share.

import csv
import json
import re
import shlex

from strata import STAGES, sources
from strata.configuration import CALCULATION_SOURCES, CROSS_LINGUAL_SOURCES

R = study.results
RUN = f"{shlex.quote(sys.executable)} {shlex.quote(str(ROOT / 'scripts'))}"
DATASETS = ROOT / "data" / "datasets.csv"
LABELS = json.dumps(study.labels, ensure_ascii=False)

with DATASETS.open(newline="", encoding="utf-8") as file:
    PINNED = {row["path"]: row for row in csv.DictReader(file)}


def one_of(names):
    """A regular expression that matches just these names."""
    return "|".join(map(re.escape, names)) or "(?!)"


wildcard_constraints:
    model=one_of(study.models),
    task=one_of(study.tasks),


def pairs(pattern, models=None, tasks=None):
    """`pattern` for every selected (model, task)."""
    return expand(pattern, model=models or study.models, task=tasks or study.tasks)


# On a machine with a card one extraction at a time, on it; see profiles/default.
GPUS = int(
    config["device"].startswith("cuda")
    or (config["device"] == "auto" and Path("/dev/nvidia0").exists())
)


def dumps(model, task, folder=None):
    """Dumps of a (model, task), layer 0 to the last; none if the study keeps none.

    `folder` stands in for the model's name in the path (a wildcard).
    """
    if not config["activations"]:
        return []
    folder = f"{R}/activations/{folder or model}/{task}"
    return [f"{folder}/layer_{layer}.h5" for layer in study.layer_names(model)]


def all_dumps():
    return [path for model in study.models for task in study.tasks for path in dumps(model, task)]


def as_json(value):
    """One text for one parameter: Snakemake compares lists of parameters as unordered sets."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
