"""Strata: what does each layer of each size of a language model know?"""

import os
import signal
import sys
from pathlib import Path

# The library of this checkout, whatever version is installed beside it.
sys.path.insert(0, str(Path(workflow.basedir) / "scripts"))

from lines import print_lines
from snakemake.utils import update_config
from strata.configfiles import check_file, given, go_by_files, going_by
from strata.study import Study
from strata.errors import StrataError
from strata.unfinished import enter

ROOT = Path(workflow.basedir)

if workflow.is_main_process:
    print_lines(last=lambda: to_open(), dry=lambda: workflow.dryrun)

try:
    check_file(ROOT / "config.yaml")
except StrataError as error:
    sys.exit(f"error: {error}")


configfile: str(ROOT / "config.yaml")


# What stands on the first page of the report.
report: "report/study.rst"


# The profile refuses a broken file before Snakemake reads it; this one stands where another profile,
# or none, was used. What ran then, by yte, ran before this line; no job has started.
try:
    update_config(config, given(workflow.config_settings.config))
    go_by_files(config, [ROOT / "config.yaml", *workflow.overwrite_configfiles])
    study = Study(config, ROOT / "config" / "schema.yaml")
    layers = study.looked_at
except (StrataError, OSError) as error:
    sys.exit(f"error: {error}")


pathvars:
    results=study.results,


include: "rules/common.smk"
include: "rules/data.smk"
include: "rules/activations.smk"
include: "rules/untrained.smk"
include: "rules/metrics.smk"
include: "rules/probes.smk"
include: "rules/catalogue.smk"
include: "rules/report.smk"
include: "rules/published.smk"
include: "rules/pretrain.smk"


# A terminal that closes is no reason to leave a lock behind: it ends a run as SIGTERM does.
if workflow.is_main_process and signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
    signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGTERM))


# Parsed before Snakemake looks at its locks: those of a run that was killed don't stop this one.
if workflow.is_main_process:
    alive, said = enter(".snakemake")
    print(said, file=sys.stderr, end="\n" * bool(said))


onstart:
    keep_dumps()


onsuccess:
    tidy(done=True)
    say_leftovers()
    print(to_open(), end="", file=sys.stderr)


onerror:
    tidy(done=False)
    say_errors(log)


rule all:
    """All of the study: tables, figures, report, what it was made of. The default."""
    default_target: True
    input:
        rules.tables.input,
        rules.figures.input,
        rules.explorer.output,
        rules.provenance.output,
        rules.report.output,
    localrule: True
    message:
        "Everything of the study {study.name}: tables, figures, report, and what it was made of."


rule data:
    """Every task, downloaded or generated, in one multiple-choice form."""
    input:
        expand("<results>/tasks/{task}.jsonl", task=study.tasks),
    localrule: True
    message:
        "Every selected task, downloaded or generated, in one multiple-choice form."


rule activations:
    """The residual stream of every model, task and layer, in HDF5."""
    input:
        all_dumps(),
    localrule: True
    message:
        "One dump per model, task and layer."


rule scores:
    """Log-probabilities of every choice, at every layer, through every lens, in HDF5."""
    input:
        pairs("<results>/scores/{model}/{task}.h5"),
    localrule: True
    message:
        "Log-probabilities of every choice, at every layer, through every lens."


rule metrics:
    """Accuracies with intervals, as csv."""
    input:
        pairs("<results>/metrics/{model}/{task}.csv"),
    localrule: True
    message:
        "Accuracies with intervals, a file per model and task."


rule probes:
    """Probes fitted on every layer, their held-out decisions, and their transfer."""
    input:
        pairs("<results>/probes/{model}/{task}.csv") if study.probed else [],
        expand("<results>/transfer/{model}.csv", model=study.models) if study.probed else [],
    localrule: True
    message:
        "Probes fitted on every layer, their held-out decisions and scores, and their transfer."


rule tasks:
    """Ready entries for well-known sets, in config/tasks: how many questions, chance, licence."""
    log:
        "logs/tasks.log",
    localrule: True
    message:
        "Entries for well-known sets: name a file beside your study's (--configfile FILE study.yaml)"
        " and select its tasks."
    shell:
        "{RUN}/recipes.py --folder {ROOT:q}/config/tasks --log {log}"


rule plan:
    """What the study will cost: tokens, operations, disk, memory, time. Reads no weights."""
    input:
        jsonl=expand("<results>/tasks/{task}.jsonl", task=study.tasks),
        packages=list(PACKAGES),
    log:
        "<results>/logs/plan.log",
    localrule: True
    threads: config["threads"]
    params:
        models=json.dumps(study.models, ensure_ascii=False),
        tasks=" ".join(study.tasks),
        lenses=" ".join(lenses_in_order()),
        blind="--question-blind" * config["question_blind"],
        half="--normed-float16" * config["normed_float16"],
        layers=as_json(config["layers"]),
        probes=f"--probes {shlex.quote(PROBE_PLAN)}" * study.probed,
        calculation=" ".join(study.calculation),
    message:
        "What the study will cost: tokens, operations, disk, memory, time; also {R}/plan.csv."
    shell:
        "{RUN}/plan.py --models {params.models:q} --tasks {params.tasks} --items {input.jsonl}"
        " --lenses {params.lenses} --layers {params.layers:q} {params.blind} {params.half}"
        " {params.probes} --probe-device {config[probes][device]} --calculation {params.calculation}"
        " --overlong {config[overlong]} {DEVICE}"
        " --threads {threads} --lanes {config[threads]} --out {R}/plan.csv --log {log}"


try:
    if workflow.is_main_process:
        check_targets()
except StrataError as error:
    sys.exit(f"error: {error}")
