# Paths and look-ups that the rules share. <results> is the study's folder (see Snakefile); it stands
# for it in inputs, outputs, logs and expand, not in shell and params, which say R.

import csv
import json
import re
import shlex

from strata import STAGES
from strata.tasks import sources

R = study.results
PYTHON = shlex.quote(sys.executable)
RUN = f"{PYTHON} {shlex.quote(str(ROOT / 'scripts'))}"
DATASETS = ROOT / "data" / "datasets.csv"
MIRROR = config["mirror"] or ""
PROBE_PLAN = json.dumps(config["probes"])

with DATASETS.open(newline="", encoding="utf-8") as file:
    PINNED = {row["path"]: row for row in csv.DictReader(file)}


def device_options():
    """Options of extract.py that change its speed and its needs, not its results."""
    memory = {f"{name}-memory": size for name, size in config["memory"].items()}
    given = {"batch-tokens": config["batch_tokens"], **memory}
    options = [f"--{name} {value}" for name, value in given.items() if value != "auto"]
    return " ".join([f"--device {config['device']} --weights {config['weights']}", *options])


DEVICE = device_options()


def one_of(names):
    """A regular expression that matches just these names."""
    return "|".join(map(re.escape, names)) or "(?!)"


wildcard_constraints:
    model=one_of(study.models),
    task=one_of(study.tasks),


def pairs(pattern):
    """`pattern` for every selected (model, task)."""
    return expand(pattern, model=study.models, task=study.tasks)


def dumps(model, task):
    """Dumps of a (model, task), layer 0 to the last; none if the study keeps none."""
    if not config["activations"]:
        return []
    folder = f"<results>/activations/{model}/{task}"
    return [f"{folder}/layer_{layer}.h5" for layer in study.layer_names(model)]


def all_dumps():
    return [path for model in study.models for task in study.tasks for path in dumps(model, task)]


def growing(mem_mb, runtime):
    """Resources of a job: megabytes and minutes at the first attempt, as much more at each retry."""
    return {
        "mem_mb": lambda wildcards, attempt: mem_mb * attempt,
        "runtime": lambda wildcards, attempt: runtime * attempt,
    }


# What `snakemake plan` has found, by (model, task).
PLAN = {}
if Path(R, "plan.csv").is_file():
    with open(f"{R}/plan.csv", newline="", encoding="utf-8") as file:
        PLAN = {(row["model"], row["task"]): row for row in csv.DictReader(file)}


def planned(model, column, default, scale, join=max):
    """A resource of a job: what the plan has for the model and the job's task (or all of them),
    times `scale`; `default` where it has nothing. It grows with each retry."""

    def resource(wildcards, attempt):
        tasks = [wildcards.task] if "task" in wildcards.keys() else study.tasks
        found = [PLAN.get((model, task), {}).get(column) for task in tasks]
        amount = round(scale * join(map(float, found))) + 1 if all(found) else default
        return amount * attempt

    return resource


def as_json(value):
    """One text for one parameter: Snakemake compares lists of parameters as unordered sets."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def raw_files(wildcards):
    options = study.tasks[wildcards.task]
    own = sources.own_files(options)
    return [f"data/raw/{path}" for path in sources.files(options)] + own


def task_options(wildcards):
    """What the task's items depend on."""
    return as_json({k: v for k, v in study.tasks[wildcards.task].items() if k != "label"})


def model_files(wildcards):
    """What a local model is made of; a hub model is pinned by its revision instead."""
    options = study.models[wildcards.model]
    if "path" not in options:
        return []
    folder = Path(options["path"])
    patterns = ("config.json", "tokenizer*", "chat_template.jinja")
    patterns += ("*.safetensors", "*.safetensors.index.json")
    return sorted(str(file) for pattern in patterns for file in folder.glob(pattern))


def model_options(wildcards):
    """What identifies the weights."""
    options = study.models[wildcards.model]
    keys = ("path",) if "path" in options else ("hub", "revision", "layers", "shape")
    return as_json({key: options[key] for key in keys if key in options})
