# The paper's own numbers, made into tables and figures by the entries of the catalogue that show
# metrics alone. Not part of `all`.

from strata.names import MC1, REFERENCE

PUBLISHED_LABELS = ROOT / "data" / "published" / "labels.json"
PUBLISHED_NAMES = json.loads(PUBLISHED_LABELS.read_text(encoding="utf-8"))


def published(kind, name, **one):
    """A table or figure of the paper: its name, and how the script is asked for it."""
    asked = "".join(f" --{part} {value}" for part, value in one.items())
    return {CATALOGUE[kind][name].stem(**one): name + asked}


PRINTED = {
    "table": {
        **published("table", "overall"),
        **published("table", "cross_lingual"),
        **{
            stem: asked
            for model in PUBLISHED_NAMES["models"]
            for stem, asked in published("table", "layers", model=model).items()
        },
    },
    "figure": {
        **published("figure", "overall_radar"),
        **{
            stem: asked
            for task in PUBLISHED_NAMES["tasks"]
            for name in ["cross_lingual" if task.startswith("x") else "curves"]
            for stem, asked in published("figure", name, task=task).items()
        },
    },
}


def printed(kind, stems):
    """What the script is asked with: which table or figure, and the study's style of all figures;
    of the radar's axes, those whose last layers were printed."""

    def asked(wildcards):
        words = f"{kind}.py {stems[wildcards.stem]} --lens {REFERENCE} --metric {MC1}"
        if kind == "table":
            return words
        style = study.figure_style("style", wildcards.stem)
        if wildcards.stem == "overall_radar":
            style |= {"axes": ["mps_cal", "truthfulqa", "reclor", "lama", "mps_rea"]}
        return f"{words} --style {shlex.quote(as_json(style))}"

    return asked


for kind, stems in PRINTED.items():

    rule:
        name:
            f"published_{kind}"
        input:
            metrics=PUBLISHED,
            labels=PUBLISHED_LABELS,
        output:
            multiext(f"<results>/{kind}s/{{stem}}", *SUFFIXES[kind]),
        log:
            f"<results>/logs/{kind}s/{{stem}}.log",
        pathvars:
            results="results/published",
        wildcard_constraints:
            stem=one_of(stems),
        localrule: True
        resources:
            **growing(2000, 10),
        params:
            asked=printed(kind, stems),
            stage=STAGES[f"{kind}s"],
        message:
            f"{kind.capitalize()}: {{wildcards.stem}}, as published."
        shell:
            "{RUN}/{params.asked} --metrics {input.metrics:q} --labels {input.labels:q}"
            " --out {output[0]} --log {log}"


rule published:
    """The paper's own tables and figures, from its printed numbers, in results/published."""
    input:
        [
            multiext(f"<results>/{kind}s/{stem}", *SUFFIXES[kind])
            for kind, stems in PRINTED.items()
            for stem in stems
        ],
    pathvars:
        results="results/published",
    localrule: True
    message:
        "The paper's own tables and figures, from its printed numbers, under results/published."
