# The paper's own numbers, drawn by the code that draws a study's. Not part of `all`.

P = "results/published"
PUBLISHED_LABELS = ROOT / "data" / "published" / "labels.json"
PUBLISHED_NAMES = json.loads(PUBLISHED_LABELS.read_text(encoding="utf-8"))
PUBLISHED_TABLES = {"overall": "overall", "cross_lingual": "cross_lingual"}
PUBLISHED_TABLES |= {
    f"layers_{model}": f"layers --model {model}" for model in PUBLISHED_NAMES["models"]
}
PUBLISHED_FIGURES = {"overall_radar": "overall_radar"}
PUBLISHED_FIGURES |= {
    f"{kind}_{task}": f"{kind} --task {task}"
    for task in PUBLISHED_NAMES["tasks"]
    for kind in ["cross_lingual" if task.startswith("x") else "curves"]
}
PUBLISHED_STYLES = {
    name: study.figure_style("style", drawn.split()[0]) for name, drawn in PUBLISHED_FIGURES.items()
}
# Those of the radar's axes whose last-layer values were printed.
PUBLISHED_STYLES["overall_radar"] |= {
    "axes": ["mps_cal", "truthfulqa", "reclor", "lama", "mps_rea"]
}


localrules:
    published,
    published_table,
    published_figure,


rule published:
    input:
        [multiext(f"{P}/tables/{name}", *TABLE) for name in PUBLISHED_TABLES],
        [multiext(f"{P}/figures/{name}", *FIGURE) for name in PUBLISHED_FIGURES],
    message:
        "The paper's own tables and figures, from its printed numbers, under results/published."


rule published_table:
    input:
        metrics=PUBLISHED,
        labels=PUBLISHED_LABELS,
    output:
        multiext(f"{P}/tables/{{made}}", *TABLE),
    log:
        f"{P}/logs/tables/{{made}}.log",
    wildcard_constraints:
        made=one_of(PUBLISHED_TABLES),
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        made=lambda wildcards: PUBLISHED_TABLES[wildcards.made],
        stage=STAGES["tables"],
    message:
        "Table: {wildcards.made}, as published."
    shell:
        "{RUN}/table.py {params.made} --metrics {input.metrics:q} --labels {input.labels:q}"
        " --lens reference --metric mc1 --out {P}/tables/{wildcards.made} --log {log}"


rule published_figure:
    input:
        metrics=PUBLISHED,
        labels=PUBLISHED_LABELS,
    output:
        multiext(f"{P}/figures/{{drawn}}", *FIGURE),
    log:
        f"{P}/logs/figures/{{drawn}}.log",
    wildcard_constraints:
        drawn=one_of(PUBLISHED_FIGURES),
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        drawn=lambda wildcards: PUBLISHED_FIGURES[wildcards.drawn],
        style=lambda wildcards: as_json(PUBLISHED_STYLES[wildcards.drawn]),
        stage=STAGES["figures"],
    message:
        "Figure: {wildcards.drawn}, as published."
    shell:
        "{RUN}/figure.py {params.drawn} --metrics {input.metrics:q} --labels {input.labels:q}"
        " --lens reference --metric mc1 --style {params.style:q}"
        " --out {P}/figures/{wildcards.drawn} --log {log}"
