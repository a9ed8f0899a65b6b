# From metrics and scores to tables, each as csv (everything), md and tex (what a reader wants).

TABLES = ["overall", "audit", "extraction", "comparisons"]
TABLES += [f"layers_{model}" for model in study.models]
TABLES += ["calculation"] * bool(CALCULATION) + ["cross_lingual"] * bool(CROSS_LINGUAL)


rule tables:
    input:
        [table(name) for name in TABLES],
    message:
        "Every table of the study {study.name}."


rule table_overall:
    input:
        pairs(f"{R}/metrics/{{model}}/{{task}}.csv"),
    output:
        table("overall"),
    log:
        f"{R}/logs/tables/overall.log",
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        shown=SHOWN,
        labels=LABELS,
        stage=STAGES["tables"],
    message:
        "Table: models x tasks, at the last and at the best layer."
    shell:
        "{RUN}/table.py overall --metrics {input} --labels {params.labels:q} {params.shown}"
        " --out {R}/tables/overall --log {log}"


rule table_layers:
    input:
        expand(f"{R}/metrics/{{{{model}}}}/{{task}}.csv", task=study.tasks),
    output:
        table("layers_{model}"),
    log:
        f"{R}/logs/tables/layers_{{model}}.log",
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        shown=SHOWN,
        labels=lambda wildcards: labels_of([wildcards.model]),
        stage=STAGES["tables"],
    message:
        "Table: every layer of {wildcards.model} x every task."
    shell:
        "{RUN}/table.py layers --model {wildcards.model} --metrics {input}"
        " --labels {params.labels:q} {params.shown}"
        " --out {R}/tables/layers_{wildcards.model} --log {log}"


rule table_calculation:
    input:
        pairs(f"{R}/metrics/{{model}}/{{task}}.csv", tasks=CALCULATION),
    output:
        table("calculation"),
    log:
        f"{R}/logs/tables/calculation.log",
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        shown=SHOWN,
        labels=LABELS,
        stage=STAGES["tables"],
    message:
        "Table: calculation by model, layer, kind, digits and operation."
    shell:
        "{RUN}/table.py calculation --metrics {input} --labels {params.labels:q} {params.shown}"
        " --out {R}/tables/calculation --log {log}"


rule table_cross_lingual:
    input:
        pairs(f"{R}/metrics/{{model}}/{{task}}.csv", tasks=CROSS_LINGUAL),
    output:
        table("cross_lingual"),
    log:
        f"{R}/logs/tables/cross_lingual.log",
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        shown=SHOWN,
        labels=LABELS,
        stage=STAGES["tables"],
    message:
        "Table: cross-lingual tasks by model, layer and language."
    shell:
        "{RUN}/table.py cross_lingual --metrics {input} --labels {params.labels:q} {params.shown}"
        " --out {R}/tables/cross_lingual --log {log}"


rule table_audit:
    input:
        expand(f"{R}/tasks/{{task}}.audit.json", task=study.tasks),
    output:
        table("audit"),
    log:
        f"{R}/logs/tables/audit.log",
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        labels=labels_of([]),
        stage=STAGES["tables"],
    message:
        "Table: what is odd in each set of items."
    shell:
        "{RUN}/table.py audit --audits {input} --labels {params.labels:q}"
        " --out {R}/tables/audit --log {log}"


rule table_extraction:
    input:
        pairs(f"{R}/scores/{{model}}/{{task}}.h5"),
    output:
        table("extraction"),
    log:
        f"{R}/logs/tables/extraction.log",
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        labels=LABELS,
        stage=STAGES["tables"],
    message:
        "Table: what was run: items, choices, tokens, items too long, boundaries merged."
    shell:
        "{RUN}/table.py extraction --scores {input} --labels {params.labels:q}"
        " --out {R}/tables/extraction --log {log}"


rule table_comparisons:
    input:
        pairs(f"{R}/scores/{{model}}/{{task}}.h5"),
    output:
        table("comparisons"),
    log:
        f"{R}/logs/tables/comparisons.log",
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        shown=SHOWN,
        labels=LABELS,
        stage=STAGES["tables"],
    message:
        "Table: paired tests between layers and between models, corrected for multiplicity."
    shell:
        "{RUN}/table.py comparisons --scores {input} --labels {params.labels:q} {params.shown}"
        " --out {R}/tables/comparisons --log {log}"
