"""Strata: what does each layer of each size of a language model know?"""

import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(Path(workflow.basedir) / "scripts"))

from strata.configuration import Study
from strata.errors import StrataError


configfile: "config.yaml"


try:
    study = Study(config, Path(workflow.basedir) / "config" / "schema.yaml")
    layers = study.layers
except StrataError as error:
    raise WorkflowError(str(error))


include: "rules/common.smk"
include: "rules/data.smk"
include: "rules/activations.smk"
include: "rules/metrics.smk"
include: "rules/tables.smk"
include: "rules/figures.smk"


localrules:
    all,
    data,
    activations,
    scores,
    metrics,
    tables,
    figures,


rule all:
    default_target: True
    message:
        "Everything of the study {study.name}: tables and figures."
    input:
        rules.tables.input,
        rules.figures.input,


rule data:
    message:
        "Every selected task, downloaded or generated, in one multiple-choice form."
    input:
        expand(f"{R}/tasks/{{task}}.jsonl", task=study.tasks),


rule activations:
    message:
        "One dump per model, task and layer."
    input:
        all_dumps(),


rule scores:
    message:
        "Log-probabilities of every choice, at every layer, through every lens."
    input:
        pairs(f"{R}/scores/{{model}}/{{task}}.h5"),


rule metrics:
    message:
        "Accuracies with intervals, a file per model and task."
    input:
        pairs(f"{R}/metrics/{{model}}/{{task}}.csv"),
