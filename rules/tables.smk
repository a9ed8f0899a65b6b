# From metrics and scores to tables, each as csv (everything), md, tex and html (what a reader wants).

TABLES = ["overall", "audit", "extraction", "comparisons", "paper_comparison", "findings"]
TABLES += [f"layers_{model}" for model in study.models]
TABLES += ["training"] * bool(study.training)
TABLES += ["probes", "lens_vs_probe", "emergence", "transfer"] * study.probed
TABLES += ["calculation"] * bool(CALCULATION) + ["cross_lingual"] * bool(CROSS_LINGUAL)


# Short, and where the reader is: not worth a cluster's job each.
localrules:
    table_overall,
    table_layers,
    table_calculation,
    table_cross_lingual,
    table_audit,
    table_extraction,
    table_comparisons,
    table_probes,
    table_lens_vs_probe,
    table_emergence,
    table_transfer,
    table_findings,
    table_paper_comparison,
    table_training,


rule tables:
    input:
        [multiext(f"{R}/tables/{name}", *TABLE) for name in TABLES],
    message:
        "Every table of the study {study.name}."


rule table_overall:
    input:
        compared(f"{R}/metrics/{{model}}/{{task}}.csv"),
    output:
        table("overall", "Scales"),
    log:
        f"{R}/logs/tables/overall.log",
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
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
        table("layers_{model}", "Layers"),
    log:
        f"{R}/logs/tables/layers_{{model}}.log",
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
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
        compared(f"{R}/metrics/{{model}}/{{task}}.csv", tasks=CALCULATION),
    output:
        table("calculation", "Layers"),
    log:
        f"{R}/logs/tables/calculation.log",
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
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
        compared(f"{R}/metrics/{{model}}/{{task}}.csv", tasks=CROSS_LINGUAL),
    output:
        table("cross_lingual", "Languages"),
    log:
        f"{R}/logs/tables/cross_lingual.log",
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
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
        table("audit", "Audit"),
    log:
        f"{R}/logs/tables/audit.log",
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
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
        table("extraction", "Audit"),
    log:
        f"{R}/logs/tables/extraction.log",
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        labels=ALL_LABELS,
        stage=STAGES["tables"],
    message:
        "Table: what was run: items, choices, tokens, items too long, boundaries merged."
    shell:
        "{RUN}/table.py extraction --scores {input} --labels {params.labels:q}"
        " --out {R}/tables/extraction --log {log}"


rule table_comparisons:
    input:
        scores=compared(f"{R}/scores/{{model}}/{{task}}.h5"),
        decisions=compared(f"{R}/probes/{{model}}/{{task}}.h5") if study.probed else [],
    output:
        table("comparisons", "Scales"),
    log:
        f"{R}/logs/tables/comparisons.log",
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        shown=SHOWN,
        probe=config["report"]["probe"],
        labels=LABELS,
        stage=STAGES["tables"],
    message:
        "Table: paired tests of layers, models, probe and lens, corrected for multiplicity."
    shell:
        "{RUN}/table.py comparisons --scores {input.scores} --decisions {input.decisions}"
        " --labels {params.labels:q} {params.shown} --probe {params.probe}"
        " --out {R}/tables/comparisons --log {log}"


rule table_probes:
    input:
        compared(f"{R}/probes/{{model}}/{{task}}.csv"),
    output:
        table("probes", "Probes"),
    log:
        f"{R}/logs/tables/probes.log",
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        probe=config["report"]["probe"],
        labels=LABELS,
        stage=STAGES["tables"],
    message:
        "Table: what probes read, models x layers x tasks."
    shell:
        "{RUN}/table.py probes --probes {input} --labels {params.labels:q}"
        " --probe {params.probe} --out {R}/tables/probes --log {log}"


rule table_lens_vs_probe:
    input:
        metrics=compared(f"{R}/metrics/{{model}}/{{task}}.csv"),
        probes=compared(f"{R}/probes/{{model}}/{{task}}.csv"),
        comparisons=f"{R}/tables/comparisons.csv",
    output:
        table("lens_vs_probe", "Controls"),
    log:
        f"{R}/logs/tables/lens_vs_probe.log",
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        readers=READERS,
        labels=LABELS,
        stage=STAGES["tables"],
    message:
        "Table: lens, probe, control and floor on the same items."
    shell:
        "{RUN}/table.py lens_vs_probe --metrics {input.metrics} --probes {input.probes}"
        " --comparisons {input.comparisons} --labels {params.labels:q} {params.readers}"
        " --out {R}/tables/lens_vs_probe --log {log}"


rule table_emergence:
    input:
        metrics=compared(f"{R}/metrics/{{model}}/{{task}}.csv"),
        probes=compared(f"{R}/probes/{{model}}/{{task}}.csv"),
    output:
        table("emergence", "Layers"),
    log:
        f"{R}/logs/tables/emergence.log",
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        readers=READERS,
        labels=LABELS,
        stage=STAGES["tables"],
    message:
        "Table: the layer at which each task first reaches 90 % of its best."
    shell:
        "{RUN}/table.py emergence --metrics {input.metrics} --probes {input.probes}"
        " --labels {params.labels:q} {params.readers} --out {R}/tables/emergence --log {log}"


rule table_transfer:
    input:
        expand(f"{R}/transfer/{{model}}.csv", model=study.compared),
    output:
        table("transfer", "Probes"),
    log:
        f"{R}/logs/tables/transfer.log",
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        probe=config["report"]["probe"],
        labels=LABELS,
        stage=STAGES["tables"],
    message:
        "Table: probes fitted on one task and read on another."
    shell:
        "{RUN}/table.py transfer --transfer {input} --labels {params.labels:q}"
        " --probe {params.probe} --out {R}/tables/transfer --log {log}"


rule table_paper_comparison:
    input:
        metrics=compared(f"{R}/metrics/{{model}}/{{task}}.csv"),
        published=PUBLISHED,
    output:
        table("paper_comparison", "Paper"),
    log:
        f"{R}/logs/tables/paper_comparison.log",
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        paper=PAPER,
        labels=LABELS,
        stage=STAGES["tables"],
    message:
        "Table: every published value beside the measured ones."
    shell:
        "{RUN}/table.py paper_comparison --metrics {input.metrics} --published {input.published:q}"
        " --paper {params.paper:q} --labels {params.labels:q}"
        " --out {R}/tables/paper_comparison --log {log}"


rule table_findings:
    input:
        scores=compared(f"{R}/scores/{{model}}/{{task}}.h5"),
        floors=expand(
            f"{R}/untrained/{{model}}/{{task}}.h5", model=study.untrained, task=study.tasks
        ),
        models=expand(f"{R}/models/{{model}}.json", model=study.compared),
    output:
        table("findings", "Paper"),
    log:
        f"{R}/logs/tables/findings.log",
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        shown=SHOWN,
        sources=as_json({task: options["source"] for task, options in study.tasks.items()}),
        labels=LABELS,
        stage=STAGES["tables"],
    message:
        "Table: the paper's findings, tested on this study's models."
    shell:
        "{RUN}/table.py findings --scores {input.scores} --floors {input.floors}"
        " --models {input.models} --sources {params.sources:q} --labels {params.labels:q}"
        " {params.shown} --out {R}/tables/findings --log {log}"


rule table_training:
    input:
        expand(f"{R}/metrics/{{model}}/{{task}}.csv", model=study.training, task=study.tasks),
    output:
        table("training", "Scales"),
    log:
        f"{R}/logs/tables/training.log",
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        shown=SHOWN,
        training=TRAINING,
        labels=ALL_LABELS,
        stage=STAGES["tables"],
    message:
        "Table: every checkpoint of the training runs, at the last and at the best layer."
    shell:
        "{RUN}/table.py training --metrics {input} --training {params.training:q}"
        " --labels {params.labels:q} {params.shown} --out {R}/tables/training --log {log}"
