"""Strata: what does each layer of each size of a language model know?"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(workflow.basedir) / "scripts"))

from strata.study import Study
from strata.errors import StrataError

ROOT = Path(workflow.basedir)


configfile: str(ROOT / "config.yaml")


# What stands on the first page of the report.
report: "report/study.rst"


try:
    study = Study(config, ROOT / "config" / "schema.yaml")
    layers = study.layers
except StrataError as error:
    sys.exit(f"error: {error}")


include: "rules/common.smk"
include: "rules/data.smk"
include: "rules/activations.smk"
include: "rules/untrained.smk"
include: "rules/metrics.smk"
include: "rules/probes.smk"
include: "rules/tables.smk"
include: "rules/figures.smk"
include: "rules/report.smk"
include: "rules/published.smk"
include: "rules/pretrain.smk"


localrules:
    all,
    data,
    activations,
    scores,
    metrics,
    probes,
    tables,
    figures,
    plan,


rule all:
    default_target: True
    input:
        rules.tables.input,
        rules.figures.input,
        rules.report.output,
    message:
        "Everything of the study {study.name}: tables, figures, report."


rule data:
    input:
        expand(f"{R}/tasks/{{task}}.jsonl", task=study.tasks),
    message:
        "Every selected task, downloaded or generated, in one multiple-choice form."


rule activations:
    input:
        all_dumps(),
    message:
        "One dump per model, task and layer."


rule scores:
    input:
        pairs(f"{R}/scores/{{model}}/{{task}}.h5"),
    message:
        "Log-probabilities of every choice, at every layer, through every lens."


rule metrics:
    input:
        pairs(f"{R}/metrics/{{model}}/{{task}}.csv"),
    message:
        "Accuracies with intervals, a file per model and task."


rule probes:
    input:
        pairs(f"{R}/probes/{{model}}/{{task}}.csv") if study.probed else [],
        expand(f"{R}/transfer/{{model}}.csv", model=study.models) if study.probed else [],
    message:
        "Probes fitted on every layer, their held-out decisions and scores, and their transfer."


rule plan:
    input:
        expand(f"{R}/tasks/{{task}}.jsonl", task=study.tasks),
    log:
        f"{R}/logs/plan.log",
    threads: config["threads"]
    params:
        models=json.dumps(study.models, ensure_ascii=False),
        tasks=" ".join(study.tasks),
        lenses=" ".join(config["lenses"]),
    message:
        "What the study will cost: tokens, operations, disk, memory, time; also {R}/plan.csv."
    shell:
        "{RUN}/plan.py --models {params.models:q} --tasks {params.tasks} --items {input}"
        " --lenses {params.lenses} --overlong {config[overlong]} {DEVICE}"
        " --threads {threads} --out {R}/plan.csv --log {log}"
