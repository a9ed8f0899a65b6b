# Paths and look-ups that the rules share. <results> is the study's folder (see Snakefile); it stands
# for it in inputs, outputs, logs and expand, not in shell and params, which say R.

import functools
import json
import operator
import os
import re
import shlex
import shutil

from strata import STAGES
from strata import asked
from strata.environment import takes_card
from strata.errors import nearest
from strata.files import link
from strata.models.checkpoint import (
    content_of,
    local_adapter,
    other_tokenizer,
    own_dtype,
    own_files,
    place_of,
    read_config,
    said_of,
    takes_tokenizer,
)
from strata.models.package import FOLDER, package_file
from strata.names import CHOICE_END, LENSES, MC1, REFERENCE
from strata.planned import read_plan
from strata.report.catalogue import CATALOGUE, FIGURES, TABLES
from strata.report.entry import FORMS, MAPPINGS, QUESTIONS
from strata.report.style import COLORS
from strata.tasks import sources
from strata.tasks.download import read_datasets
from strata.tasks.hub import FOLDER as SETS_FOLDER
from strata.unfinished import KEPT, sweep

R = study.results
STUDIES = shlex.quote(str(Path(R).parent))  # all of them
PYTHON = shlex.quote(sys.executable)
RUN = f"{PYTHON} {shlex.quote(str(ROOT / 'scripts'))}"
TOKENS = f"{R}/unfinished/_tokens"
DATASETS = ROOT / "data" / "datasets.csv"
MIRROR = config["mirror"] or ""
PROBE_PLAN = json.dumps(study.probe_plan)
PINNED = read_datasets(DATASETS)


def device_options():
    """Options of extract.py that change its speed, its needs and what it checks, not its results."""
    memory = {f"{name}-memory": size for name, size in config["memory"].items()}
    given = {"batch-tokens": config["batch_tokens"], **memory}
    options = [f"--{name} {value}" for name, value in given.items() if value != "auto"]
    options += [] if config["self_check"] else ["--no-self-check"]
    return " ".join([f"--device {config['device']} --cards {config['cards']}", *options])


DEVICE = device_options()
PROBE_DEVICE = f"--device {config['probes']['device']}"
PROBE_CARDS = int(takes_card(config["probes"]["device"]))


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
    """Dumps of a (model, task), a layer each; none if the study keeps none."""
    if not config["activations"]:
        return []
    folder = f"<results>/activations/{model}/{task}"
    return [f"{folder}/layer_{layer}.h5" for layer in study.layer_names(model)]


def stands_on():
    """All that tables and figures stand on, activations aside, which may be deleted. Targets name
    it: where what they show is there, Snakemake asks for nothing in between, so that after a
    failed run old tables would be taken for new ones."""
    found = [
        *pairs("<results>/scores/{model}/{task}.h5"),
        *pairs("<results>/metrics/{model}/{task}.csv"),
        *pairs("<results>/best/{model}/{task}.csv"),
        *expand("<results>/models/{model}.json", model=study.models),
        *expand("<results>/tasks/{task}.{form}", task=study.tasks, form=("jsonl", "audit.json")),
        *expand("<results>/untrained/{model}/{task}.h5", model=study.untrained, task=study.tasks),
    ]
    if study.probed:
        own = {"model": study.compared, "task": study.tasks}
        found += expand("<results>/probes/{model}/{task}.{form}", **own, form=("csv", "h5"))
        found += expand("<results>/transfer/{model}.csv", model=study.compared)
    return found


def layers_read(model):
    """What of a model is read out, in words."""
    read, last = len(study.looked_at[model]), study.layers[model]
    return "every layer" if read > last else f"{read} of its layers 0 to {last}"


def all_dumps():
    return [path for model in study.models for task in study.tasks for path in dumps(model, task)]


def growing(mem_mb, runtime):
    """Resources of a job: megabytes and minutes at the first attempt, as much more at each retry."""
    return {
        "mem_mb": lambda wildcards, attempt: mem_mb * attempt,
        "runtime": lambda wildcards, attempt: runtime * attempt,
    }


PLAN = read_plan(Path(R, "plan.csv"))


def planned(column, default, scale, least, join=max, model=None):
    """A resource of a job: what the plan has for the job's model (or the one that its rule is for)
    and its task (or all of them), times `scale`, and no less than `least`; `default` where it has
    nothing. It grows with each retry."""

    def resource(wildcards, attempt):
        own = wildcards.model if model is None else model
        tasks = [wildcards.task] if "task" in wildcards.keys() else study.tasks
        found = [PLAN.get((own, task), {}).get(column) for task in tasks]
        amount = round(scale * join(found)) + 1 if all(found) else default
        return max(least, amount) * attempt

    return resource


def lenses_in_order():
    """The study's lenses in one order: another order of the same is no change."""
    return [lens for lens in LENSES if lens in config["lenses"]]


def dtype_of(model):
    """The dtype that an entry asks for; auto too if it says what the checkpoint's own is."""
    options = study.models[model]
    asked = options.get("dtype", "auto")
    there = "path" in options and model not in study.absent
    same = there and asked == own_dtype(read_config(options["path"]))
    return "auto" if same else asked


def as_json(value):
    """One text for one parameter: Snakemake compares lists of parameters as unordered sets."""
    texts = json.loads(json.dumps(value))  # keys too, which are sorted
    return json.dumps(texts, ensure_ascii=False, sort_keys=True)


def raw_files(wildcards):
    """What a task is made of. Of a file of the user's own the content decides, not the time."""
    options = study.tasks[wildcards.task]
    own = [ancient(path) for path in sources.own_files(options)]
    pinned = [f"data/raw/{path}" for path in sources.files(options)]
    return pinned + own + list(sources.sets(options))


def task_options(task):
    """What the task's items depend on, the content of a user's own files included."""
    options = {k: v for k, v in study.tasks[task].items() if k not in ("label", "about")}
    left_out = config["leave_out"]
    more = sources.content(options)
    if task in study.variants:  # by whose questions limits count
        more["variants"] = study.variants[task]
    return options | more | ({"leave_out": left_out} if left_out else {})


# What the study reads of data sets on the hub, by where it is kept.
SETS = {
    path: own for options in study.tasks.values() for path, own in sources.sets(options).items()
}


def packages():
    """The packages of the study's models by where their files are kept."""
    entries = [options for options in study.models.values() if "path" not in options]
    return {
        str(package_file(options["package"])): options["package"]
        for options in entries
        if "package" in options
    }


PACKAGES = packages()


def package_files(model):
    """The file of a model that is in a package: made, where it is missing, before it is used."""
    place = str(place_of(study.models[model]))
    return [place] if place in PACKAGES else []


def model_files(wildcards):
    """What a local model is made of; a hub model is pinned by its revision instead."""
    if wildcards.model in study.absent:  # not there: what was made of it stands as it is
        return [study.models[wildcards.model]["path"]]
    found = own_files(study.models[wildcards.model])
    local = [os.path.relpath(file) for file in found]  # however it is spelled
    return local + package_files(wildcards.model)


def of_hub(options):
    """Whether a model, or its adapter, is fetched from a hub."""
    apart = "path" in options and "adapter" in options and not local_adapter(options)
    return place_of(options) is None or apart


def settled(name, want, made, answers=operator.eq):
    """The input that says what a job's results are asked for (see strata.asked). Only Snakemake
    itself settles it; the jobs that it starts find it settled."""
    path = f"{R}/asked/{name}.json"
    if workflow.is_main_process or not Path(path).is_file():
        asked.settle(path, want(), made(), answers)
    return path


def model_asked(wildcards):
    """The input that says which model is asked for: where it is not there, the one that was."""
    model = wildcards.model
    made = Path(R, "models", f"{model}.json")

    def want():
        if model in study.absent:
            return asked.made_model(made)
        return {"content": content_of(study.models[model]), "stage": STAGES["describe"]}

    return settled(f"models/{model}", want, lambda: {made: asked.made_model(made)})


def task_asked(wildcards):
    """The input that says which items are asked for."""
    task = wildcards.task
    made = Path(R, "tasks", f"{task}.audit.json")
    return settled(
        f"tasks/{task}",
        lambda: {"options": task_options(task), "stage": STAGES["prepare"]},
        lambda: {made: asked.made_task(made)},
        asked.same_items,
    )


def extraction_asked(model, tasks, kind="scores"):
    """The input that says with which lenses and settings scores are asked for. kind: their folder,
    scores or untrained."""

    def want():
        chat = study.models[model].get("chat", False)
        position = CHOICE_END if kind == "untrained" else config["position"]
        blind = config["question_blind"] and kind == "scores"
        how = config["overlong"], position, dtype_of(model), chat, blind
        how += study.looked_at[model], config["normed_float16"]
        own = asked.extraction_asked(*how)
        return {"lenses": lenses_in_order(), **own}

    def made():
        info = {"scores": f"models/{model}.json", "untrained": f"untrained/{model}/model.json"}
        return {
            (path := Path(R, kind, model, f"{task}.h5")): asked.made_scores(
                path, model, task, Path(R, info[kind]), Path(R, f"tasks/{task}.jsonl")
            )
            for task in tasks
        }

    name = f"{kind}/{model}" if len(tasks) > 1 else f"{kind}/{model}/{tasks[0]}"
    return settled(name, want, made, asked.covers)


def probes_asked(wildcards):
    """The input that says with which plan probes are asked for."""
    model, task = wildcards.model, wildcards.task
    made = Path(R, "probes", model, f"{task}.h5")
    scores = Path(R, "scores", model, f"{task}.h5")
    return settled(
        f"probes/{model}/{task}",
        lambda: asked.probes_asked(
            study.probe_plan, task in study.calculation, study.looked_at[model]
        ),
        lambda: {made: asked.made_probes(made, scores)},
    )


def keep_dumps():
    """Gives the dumps of jobs that are to run a second name until they are made anew, for Snakemake
    removes them before, and a job may need no others: for another lens, where a task is taken out
    of a job for all, or where times were lost."""
    folder = Path(R, "activations")
    for job in workflow.dag.needrun_jobs():
        for file in map(Path, job.output):
            if file.is_relative_to(folder) and file.is_file():
                link(file, Path(R, "unfinished", KEPT, file.relative_to(folder)))


def tidy(done):
    """Removes, at the end of a run, what was kept until Snakemake has it on record; of one that is
    done, what its models shared too."""
    if done:
        shutil.rmtree(TOKENS, ignore_errors=True)
    # Of what it has marked, Snakemake does not know whether it is whole.
    marked = workflow.persistence._filter_incomplete_keys
    own = [path.replace("<results>", R) for path in all_dumps()]
    sweep(R, lambda path: Path(path).is_file() and not marked([path]), own)


def extraction_options(path):
    """What extract.py is asked with, as its input says it."""
    own = asked.read_asked(path)
    named = " ".join(f"--{key} {own[key]}" for key in ("overlong", "position", "dtype"))
    flags = " ".join(
        f"--{key}" for key in ("chat", "question-blind", asked.FLOAT16) if own.get(key)
    )
    layers = " ".join(["--layers", *map(str, own["layers"])] if "layers" in own else [])
    return f"--lenses {' '.join(own['lenses'])} {named} {flags} {layers}"


def unrecorded(wildcards):
    """An input that is always new. A job that Snakemake has on record knows its content and is not
    run for its time; one that it hasn't, since results were copied or renamed, is run again: for
    what costs little, that is simpler than to tell what it was made for."""
    return renewed()


@functools.cache
def renewed():
    path = Path(R, "asked", "unrecorded")
    if workflow.is_main_process or not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("See unrecorded() in rules/common.smk.\n", encoding="utf-8")
    return str(path)


def folder_option(model):
    """Where a model that is no hub's is now, for the command line, and its tokenizer and adapter
    where these are elsewhere."""
    options = study.models[model]
    now = {"folder": place_of(options), "tokenizer": other_tokenizer(options)}
    now["adapter"] = local_adapter(options)
    return " ".join(f"--{key} {shlex.quote(str(path))}" for key, path in now.items() if path)


def model_options(wildcards):
    """What a model is described by: where it is, or what its entry says of it."""
    options = study.models[wildcards.model]
    own = ("path",) if "path" in options else said_of(options)
    own += ("adapter", "adapter_revision")
    own += ("tokenizer",) if takes_tokenizer(options) else ()
    return as_json({key: options[key] for key in own if key in options})


def again(model, tasks):
    """Words for an extraction of what was scored before: its activations are gone."""
    scores = [Path(R, "scores", model, f"{task}.h5") for task in tasks]
    kept = [path.replace("<results>", R) for task in tasks for path in dumps(model, task)]
    gone = [path for path in kept if not Path(path).is_file()]
    if not gone or not all(map(Path.is_file, scores)):
        return ""
    return f" Again, though scores are there: {gone[0]} is not, nor {len(gone) - 1} other dumps."


def check_targets():
    """Raises StrataError for a target of the command line that no rule makes, with the nearest.
    Snakemake itself looks at targets when all is parsed, and has no hint."""
    from snakemake.cli import get_argument_parser

    names = [rule.name for rule in workflow.rules]
    given, _ = get_argument_parser().parse_known_args()
    for target in given.targets:
        made = (rule.is_producer(target) for rule in workflow.rules)
        if target not in names and not Path(target).exists() and not any(made):
            files = [str(file).replace("<results>", R) for file in rules.all.input]
            raise StrataError(
                f"no rule makes {target!r} (`make help` lists the targets; the study's files are in "
                f"{R}){nearest(target, [*names, *files])}"
            )


def say_errors(log):
    """Repeats, at the end of all that was printed, the error of each job that failed."""
    text = "".join(Path(own).read_text(encoding="utf-8") for own in log)
    for path in dict.fromkeys(re.findall(r"^ +log: (.+?) \(check log file", text, re.M)):
        lines = Path(path).read_text("utf-8").splitlines() if Path(path).is_file() else []
        said = [line for line in lines if line.startswith("error: ")] or lines[-1:]
        print(f"{said[-1] if said else 'a job failed without a word'}\n  ({path})", file=sys.stderr)


def to_open():
    """The last line of a run that made the whole study, or found it made."""
    page = f"{R}/explorer.html"
    asked = workflow.dag_settings.targets or ["all"]
    whole = {"all", "explorer", page}.intersection(asked) and Path(page).is_file()
    return f"Open {page}\n" if whole else ""


def say_leftovers():
    """Names, at the end of a run, what is there of an earlier form of the study."""
    path, found = Path(R, "NOT_OF_THIS_STUDY.txt"), study.leftovers()
    path.unlink(missing_ok=True)
    if found:
        path.write_text("".join(f"{file}\n" for file in found), encoding="utf-8")
        print(
            f"{len(found)} files are of models, tasks, tables or figures that the study has no "
            f"longer: {path} names them. They are used by nothing; delete them, or keep them in "
            "case you ask for them again",
            file=sys.stderr,
        )


# Tables and figures

PUBLISHED = ROOT / "data" / "published" / "metrics.csv"
# What tables and figures are made of, by the names that their entries give it.
FILES = {
    "metrics": "<results>/metrics/{model}/{task}.csv",
    "best": "<results>/best/{model}/{task}.csv",
    "probes": "<results>/probes/{model}/{task}.csv",
    "decisions": "<results>/probes/{model}/{task}.h5",
    "scores": "<results>/scores/{model}/{task}.h5",
    "floors": "<results>/untrained/{model}/{task}.h5",
    "transfer": "<results>/transfer/{model}.csv",
    "models": "<results>/models/{model}.json",
    "audits": "<results>/tasks/{task}.audit.json",
    "tasks": "<results>/tasks/{task}.jsonl",
    "emergence": "<results>/tables/emergence.csv",
    "settling": "<results>/tables/settling.csv",
    "precision": "<results>/tables/precision.csv",
    "variants": "<results>/tables/variants.csv",
    "published": str(PUBLISHED),
}
SHOWN = {"table": "html", "figure": "png"}  # in the report
OPTIONS = {
    **config["report"],
    "paper": study.published,
    "training": study.training,
    "variants": study.variants,
    "abilities": study.abilities,
    "bases": study.bases,
}


def outputs(kind, stem):
    """The files of a table or figure by their suffix, `stem` being all in front of it."""
    return {suffix: f"<results>/{kind}s/{stem}.{suffix}" for suffix in FORMS[kind]}


def files_of(entry, name):
    """The files of one name that an entry is made of, its own wildcards left open."""
    if name == "decisions" and not study.probed:
        return []
    models = study.untrained if name == "floors" else study.models_of(entry)
    values = {"model": models, "task": study.tasks_of(entry)}
    asked = {
        part: found
        for part, found in values.items()
        if f"{{{part}}}" in FILES[name] and part not in entry.over
    }
    return expand(FILES[name], **asked, allow_missing=True)


def inputs_of(entry):
    """The files that an entry is made of by their names; beside scores the tasks' items."""
    found = {name: files_of(entry, name) for name in entry.files}
    return found | ({"jsonl": files_of(entry, "tasks")} if entry.scored else {})


def files_given(entry):
    """The files of an entry for the command line. Of the inputs alone, so it reruns nothing."""
    names = list(inputs_of(entry))
    return lambda wildcards, input: " ".join(
        f"--{name} {shlex.join(input.get(name))}" for name in names
    )


def options_given(kind, entry):
    """All else that an entry is asked with, for the command line: which one it is, the study's
    options, labels, and a figure's style, so that a change of style redraws that figure alone."""
    study_s = {
        name: json.dumps(OPTIONS[name], ensure_ascii=False) if name in MAPPINGS else OPTIONS[name]
        for name in entry.options
    }

    def options(wildcards):
        given = {**{part: wildcards[part] for part in entry.over}, **study_s}
        if entry.scored:
            given["lenses"] = " ".join(lenses_in_order())  # files may hold more
        given["labels"] = json.dumps(labels_of(entry, wildcards), ensure_ascii=False)
        if kind == "figure":
            given["style"] = as_json(study.figure_style(entry.name, entry.stem(**wildcards)))
        return " ".join(f"--{name} {shlex.quote(text)}" for name, text in given.items())

    return options


def labels_of(entry, wildcards):
    """Labels of the models that an entry shows and of all tasks, so that a new model leaves the
    others' files alone; colours follow their order, so some are among all that are compared."""
    if "model" in entry.over:
        return study.labels([wildcards.model])
    if not any("{model}" in FILES[name] or "/tables/" in FILES[name] for name in entry.files):
        return study.labels([])
    placed = entry.models in ("published", "precisions")
    return study.labels(study.compared if placed else study.models_of(entry))


def reported(kind, entry):
    """The outputs of an entry, one of them shown by the report, captioned by the sentence that its
    job wrote beside it."""
    form, made = kind.capitalize(), outputs(kind, entry.stem())
    made[SHOWN[kind]] = report(
        made[SHOWN[kind]],
        category=f"{1 + QUESTIONS.index(entry.question)} {entry.question}",
        subcategory=f"{form}s",
        labels=lambda wildcards, output: {form: Path(output.txt).read_text("utf-8").strip()},
    )
    return made


def published(kind, name, **one):
    """A table or figure of the paper: its own name, its entry's, and how the script is asked."""
    asked = "".join(f" --{part} {value}" for part, value in one.items())
    return {CATALOGUE[kind][name].stem(**one): (name, f"{kind}.py {name}{asked}")}


def printed(kind, stems):
    """What the script is asked with: which table or figure, and as the study styles its like; of
    the radar's axes, those whose last layers were printed."""

    def asked(wildcards):
        name, words = stems[wildcards.stem]
        words += f" --lens {REFERENCE} --metric {MC1}"
        if kind == "table":
            return words
        style = study.figure_style(name, wildcards.stem)
        if name == "overall":
            style |= {
                "form": "radar",
                "axes": ["mps_cal", "truthfulqa", "reclor", "lama", "mps_rea"],
            }
        return f"{words} --style {shlex.quote(as_json(style))}"

    return asked
