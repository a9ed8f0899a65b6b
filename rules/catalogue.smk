# Tables and figures: a rule for each entry of the catalogue (strata.report.catalogue).

from strata.report.catalogue import CATALOGUE, FIGURES, MAPPINGS, QUESTIONS, TABLES

PUBLISHED = ROOT / "data" / "published" / "metrics.csv"
# What tables and figures are made of, by the names that their entries give it.
FILES = {
    "metrics": "<results>/metrics/{model}/{task}.csv",
    "probes": "<results>/probes/{model}/{task}.csv",
    "decisions": "<results>/probes/{model}/{task}.h5",
    "scores": "<results>/scores/{model}/{task}.h5",
    "floors": "<results>/untrained/{model}/{task}.h5",
    "transfer": "<results>/transfer/{model}.csv",
    "models": "<results>/models/{model}.json",
    "audits": "<results>/tasks/{task}.audit.json",
    "comparisons": "<results>/tables/comparisons.csv",
    "published": str(PUBLISHED),
}
SUFFIXES = {"table": (".csv", ".md", ".tex", ".html", ".txt"), "figure": (".pdf", ".png", ".txt")}
SHOWN = {"table": ".html", "figure": ".png"}  # in the report
OPTIONS = {
    **config["report"],
    "paper": study.published,
    "training": study.training,
    "sources": {task: options["source"] for task, options in study.tasks.items()},
}


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


def files_given(entry):
    """The files of an entry for the command line. Of the inputs alone, so it reruns nothing."""
    return lambda wildcards, input: " ".join(
        f"--{name} {shlex.join(input.get(name))}" for name in entry.files
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
        given["labels"] = json.dumps(labels_of(entry, wildcards), ensure_ascii=False)
        if kind == "figure":
            given["style"] = as_json(study.figure_style(entry.name, entry.stem(**wildcards)))
        return " ".join(f"--{name} {shlex.quote(text)}" for name, text in given.items())

    return options


def labels_of(entry, wildcards):
    """Labels of the models that an entry shows and of all tasks, so that a new model leaves the
    others' files alone; colours follow their order, so the paper's are among those compared."""
    if "model" in entry.over:
        return study.labels([wildcards.model])
    if entry.files == ("audits",):
        return study.labels([])
    return study.labels(study.compared if entry.models == "published" else study.models_of(entry))


def reported(kind, entry, path):
    """An output that the report shows, captioned by the sentence that its job wrote beside it."""
    form = kind.capitalize()
    return report(
        path,
        category=f"{1 + QUESTIONS.index(entry.question)} {entry.question}",
        subcategory=f"{form}s",
        labels=lambda wildcards, output: {form: Path(output[-1]).read_text("utf-8").strip()},
    )


for kind, entries in CATALOGUE.items():
    for entry in entries.values():
        instances = study.instances(entry)
        if not instances:
            continue
        stem = f"<results>/{kind}s/{entry.stem()}"
        shown = stem + SHOWN[kind]
        made = [stem + suffix for suffix in SUFFIXES[kind]]

        # Short, and where the reader is: not worth a cluster's job.
        rule:
            name:
                f"{kind}_{entry.name}"
            input:
                **{name: files_of(entry, name) for name in entry.files},
            output:
                [reported(kind, entry, path) if path == shown else path for path in made],
            log:
                f"<results>/logs/{kind}s/{entry.stem()}.log",
            wildcard_constraints:
                **{
                    part: one_of(dict.fromkeys(one[part] for one in instances))
                    for part in entry.over
                },
            localrule: True
            resources:
                **growing(entry.mem_mb, entry.runtime),
            params:
                asked=f"{kind}.py {entry.name}",
                files=files_given(entry),
                options=options_given(kind, entry),
                stage=STAGES[f"{kind}s"],
            message:
                f"{kind.capitalize()}: {entry.shows.replace('{', '{wildcards.')}."
            # Read when a job runs, after the loop: it can't name the loop's variables.
            shell:
                "{RUN}/{params.asked} {params.files} {params.options} --out {output[0]} --log {log}"


rule tables:
    """Every table, as csv (everything), md, tex and html (what a reader wants)."""
    input:
        [multiext(f"<results>/tables/{name}", *SUFFIXES["table"]) for name in study.named(TABLES)],
    localrule: True
    message:
        "Every table of the study {study.name}."


rule figures:
    """Every figure, as pdf and png."""
    input:
        [
            multiext(f"<results>/figures/{name}", *SUFFIXES["figure"])
            for name in study.named(FIGURES)
        ],
    localrule: True
    message:
        "Every figure of the study {study.name}."
