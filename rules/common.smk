# Paths and look-ups that the rules share.

import csv
import json
import re
import shlex

from strata import STAGES
from strata.tasks import sources
from strata.study import CALCULATION_SOURCES, CROSS_LINGUAL_SOURCES

R = study.results
PYTHON = shlex.quote(sys.executable)
RUN = f"{PYTHON} {shlex.quote(str(ROOT / 'scripts'))}"
DATASETS = ROOT / "data" / "datasets.csv"
MIRROR = config["mirror"] or ""
LABELS = json.dumps(study.labels(study.compared), ensure_ascii=False)
ALL_LABELS = json.dumps(study.labels(), ensure_ascii=False)
TRAINING = json.dumps(study.training, ensure_ascii=False)

SHOWN = f"--lens {config['report']['lens']} --metric {config['report']['metric']}"
READERS = f"--lens {config['report']['lens']} --probe {config['report']['probe']}"
PROBE_PLAN = json.dumps(config["probes"])
CALCULATION = study.tasks_from(*CALCULATION_SOURCES)
CROSS_LINGUAL = study.tasks_from(*CROSS_LINGUAL_SOURCES)

PUBLISHED = ROOT / "data" / "published" / "metrics.csv"
PAPER = json.dumps(study.published)

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


def pairs(pattern, models=None, tasks=None):
    """`pattern` for every selected (model, task)."""
    return expand(pattern, model=models or study.models, task=tasks or study.tasks)


def compared(pattern, tasks=None):
    """`pattern` for every (model, task) that tables and figures set side by side."""
    return pairs(pattern, study.compared, tasks)


def dumps(model, task):
    """Dumps of a (model, task), layer 0 to the last; none if the study keeps none."""
    if not config["activations"]:
        return []
    folder = f"{R}/activations/{model}/{task}"
    return [f"{folder}/layer_{layer}.h5" for layer in study.layer_names(model)]


def all_dumps():
    return [path for model in study.models for task in study.tasks for path in dumps(model, task)]


def growing(amount):
    """A resource of a job: `amount` at the first attempt, as much more at each retry."""
    return lambda wildcards, attempt: amount * attempt


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


TABLE = (".csv", ".md", ".tex", ".html", ".txt")
FIGURE = (".pdf", ".png", ".txt")
# The parts of the report: Snakemake sorts them by name.
QUESTIONS = ["Scales", "Layers", "Languages", "Probes", "Controls", "Paper", "Audit"]


def table(name, question):
    """A table's files, as a rule's output."""
    *others, html, heading = multiext(f"{R}/tables/{name}", *TABLE)
    return [*others, reported(html, question, "Table"), heading]


def figure(name, question):
    """A figure's files, as a rule's output."""
    pdf, png, heading = multiext(f"{R}/figures/{name}", *FIGURE)
    return [pdf, reported(png, question, "Figure"), heading]


def reported(path, question, form):
    """An output that the report shows, captioned by the sentence that its job wrote beside it."""
    return report(
        path,
        category=f"{1 + QUESTIONS.index(question)} {question}",
        subcategory=f"{form}s",
        labels=lambda wildcards, output: {form: Path(output[-1]).read_text("utf-8").strip()},
    )


def labels_of(models):
    """The labels of some models and all tasks, so that a new model leaves these files alone."""
    return json.dumps(study.labels(models), ensure_ascii=False)


def style(kind, name):
    """The style of one figure as a parameter, so that a change redraws that figure alone.

    A function of wildcards only: parameters made from outputs rerun nothing when they change.
    """
    return lambda wildcards: as_json(study.figure_style(kind, name.format(**wildcards)))
