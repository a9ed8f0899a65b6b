# The paper's own numbers, made into tables and figures by the entries of the catalogue that show
# metrics alone. Not part of `all`.

PUBLISHED_LABELS = ROOT / "data" / "published" / "labels.json"
PUBLISHED_NAMES = json.loads(PUBLISHED_LABELS.read_text(encoding="utf-8"))


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
        **published("figure", "overall"),
        **{
            stem: asked
            for task in PUBLISHED_NAMES["tasks"]
            for name in ["cross_lingual" if sources.SOURCES[task].in_languages else "curves"]
            for stem, asked in published("figure", name, task=task).items()
        },
    },
}


for kind, stems in PRINTED.items():

    rule:
        name:
            f"published_{kind}"
        input:
            metrics=PUBLISHED,
            labels=PUBLISHED_LABELS,
            new=unrecorded,
        output:
            **outputs(kind, "{stem}"),
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
            " --out {output.txt} --log {log}"


rule published:
    """The paper's own tables and figures, from its printed numbers, in results/published."""
    input:
        [outputs(kind, stem).values() for kind, stems in PRINTED.items() for stem in stems],
    pathvars:
        results="results/published",
    localrule: True
    message:
        "The paper's own tables and figures, from its printed numbers, under results/published."
