# The paper's own numbers, drawn by the code that draws a study's. Not part of `all`.

P = "results/published"
PUBLISHED_LABELS = ROOT / "data" / "published" / "labels.json"
PUBLISHED_NAMES = json.loads(PUBLISHED_LABELS.read_text(encoding="utf-8"))
PUBLISHED_TABLES = {"overall": "", "cross_lingual": ""}
PUBLISHED_TABLES |= {f"layers_{model}": f"--model {model}" for model in PUBLISHED_NAMES["models"]}
PUBLISHED_FIGURES = {"overall_radar": "overall_radar"}
PUBLISHED_FIGURES |= {
    f"{kind}_{task}": kind
    for task in PUBLISHED_NAMES["tasks"]
    for kind in ["cross_lingual" if task.startswith("x") else "curves"]
}
# Those of the radar's axes whose last-layer values were printed.
PUBLISHED_AXES = ["mps_cal", "truthfulqa", "reclor", "lama", "mps_rea"]


def published_style(wildcards):
    kind = PUBLISHED_FIGURES[wildcards.drawn]
    axes = {"axes": PUBLISHED_AXES} if kind == "overall_radar" else {}
    return as_json(study.figure_style("style", kind) | axes)


def published_kind(wildcards):
    """The kind of figure, and its task."""
    kind = PUBLISHED_FIGURES[wildcards.drawn]
    task = wildcards.drawn.removeprefix(kind).removeprefix("_")
    return f"{kind} --task {task}" if kind != "overall_radar" else kind


localrules:
    published,


rule published:
    input:
        [multiext(f"{P}/tables/{name}", ".csv", ".md", ".tex") for name in PUBLISHED_TABLES],
        [multiext(f"{P}/figures/{name}", ".pdf", ".png") for name in PUBLISHED_FIGURES],
    message:
        "The paper's own tables and figures, from its printed numbers, under results/published."


rule published_table:
    input:
        metrics=PUBLISHED,
        labels=PUBLISHED_LABELS,
    output:
        multiext(f"{P}/tables/{{made}}", ".csv", ".md", ".tex"),
    log:
        f"{P}/logs/tables/{{made}}.log",
    wildcard_constraints:
        made=one_of(PUBLISHED_TABLES),
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        kind=lambda wildcards: wildcards.made.split("_LLaMA")[0],
        model=lambda wildcards: PUBLISHED_TABLES[wildcards.made],
        stage=STAGES["tables"],
    message:
        "Table: {wildcards.made}, as published."
    shell:
        "{RUN}/table.py {params.kind} --metrics {input.metrics:q} --labels {input.labels:q}"
        " --lens reference --metric mc1 {params.model} --out {P}/tables/{wildcards.made} --log {log}"


rule published_figure:
    input:
        metrics=PUBLISHED,
        labels=PUBLISHED_LABELS,
    output:
        multiext(f"{P}/figures/{{drawn}}", ".pdf", ".png"),
    log:
        f"{P}/logs/figures/{{drawn}}.log",
    wildcard_constraints:
        drawn=one_of(PUBLISHED_FIGURES),
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        figure=published_kind,
        style=published_style,
        stage=STAGES["figures"],
    message:
        "Figure: {wildcards.drawn}, as published."
    shell:
        "{RUN}/figure.py {params.figure} --metrics {input.metrics:q} --labels {input.labels:q}"
        " --lens reference --metric mc1 --style {params.style:q}"
        " --out {P}/figures/{wildcards.drawn} --log {log}"
