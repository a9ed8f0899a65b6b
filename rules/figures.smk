# From metrics to figures, as pdf and png: one job a figure, its style its own setting.


localrules:
    figure_overall_radar,
    figure_curves,
    figure_calculation_radars,
    figure_cross_lingual,
    figure_probe_curves,
    figure_readout,
    figure_emergence,
    figure_transfer,
    figure_paper_comparison,
    figure_training,


rule figures:
    input:
        [multiext(f"{R}/figures/{name}", *FIGURE) for name in study.figures],
    message:
        "Every figure of the study {study.name}."


rule figure_overall_radar:
    input:
        compared(f"{R}/metrics/{{model}}/{{task}}.csv"),
    output:
        figure("overall_radar", "Scales"),
    log:
        f"{R}/logs/figures/overall_radar.log",
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        style=style("overall_radar", "overall_radar"),
        shown=SHOWN,
        labels=LABELS,
        stage=STAGES["figures"],
    message:
        "Figure: all abilities at the last layer, a polygon per model."
    shell:
        "{RUN}/figure.py overall_radar --metrics {input} --labels {params.labels:q}"
        " --style {params.style:q} {params.shown} --out {R}/figures/overall_radar --log {log}"


rule figure_curves:
    input:
        expand(f"{R}/metrics/{{model}}/{{{{task}}}}.csv", model=study.compared),
    output:
        figure("curves_{task}", "Layers"),
    log:
        f"{R}/logs/figures/curves_{{task}}.log",
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        style=style("curves", "curves_{task}"),
        shown=SHOWN,
        labels=LABELS,
        stage=STAGES["figures"],
    message:
        "Figure: {wildcards.task} over the layers, a line per model."
    shell:
        "{RUN}/figure.py curves --task {wildcards.task} --metrics {input}"
        " --labels {params.labels:q} --style {params.style:q} {params.shown}"
        " --out {R}/figures/curves_{wildcards.task} --log {log}"


rule figure_calculation_radars:
    input:
        expand(f"{R}/metrics/{{model}}/{{{{task}}}}.csv", model=study.compared),
    output:
        figure("calculation_radars_{task}_{kind}_{digits}", "Layers"),
    log:
        f"{R}/logs/figures/calculation_radars_{{task}}_{{kind}}_{{digits}}.log",
    wildcard_constraints:
        task=one_of(CALCULATION),
        kind="int|float",
        digits="[0-9-]+",
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        style=style("calculation_radars", "calculation_radars_{task}_{kind}_{digits}"),
        shown=SHOWN,
        labels=LABELS,
        stage=STAGES["figures"],
    message:
        "Figure: {wildcards.task}, {wildcards.kind}, {wildcards.digits} digits, by operation."
    shell:
        "{RUN}/figure.py calculation_radars --task {wildcards.task} --kind {wildcards.kind}"
        " --digits {wildcards.digits} --metrics {input} --labels {params.labels:q}"
        " --style {params.style:q} {params.shown}"
        " --out {R}/figures/calculation_radars_{wildcards.task}_{wildcards.kind}_{wildcards.digits}"
        " --log {log}"


rule figure_cross_lingual:
    input:
        expand(f"{R}/metrics/{{model}}/{{{{task}}}}.csv", model=study.compared),
    output:
        figure("cross_lingual_{task}", "Languages"),
    log:
        f"{R}/logs/figures/cross_lingual_{{task}}.log",
    wildcard_constraints:
        task=one_of(CROSS_LINGUAL),
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        style=style("cross_lingual", "cross_lingual_{task}"),
        shown=SHOWN,
        labels=LABELS,
        stage=STAGES["figures"],
    message:
        "Figure: {wildcards.task}, layers x languages, a panel per model."
    shell:
        "{RUN}/figure.py cross_lingual --task {wildcards.task} --metrics {input}"
        " --labels {params.labels:q} --style {params.style:q} {params.shown}"
        " --out {R}/figures/cross_lingual_{wildcards.task} --log {log}"


rule figure_probe_curves:
    input:
        metrics=expand(f"{R}/metrics/{{model}}/{{{{task}}}}.csv", model=study.compared),
        probes=expand(f"{R}/probes/{{model}}/{{{{task}}}}.csv", model=study.compared),
    output:
        figure("probe_curves_{task}", "Controls"),
    log:
        f"{R}/logs/figures/probe_curves_{{task}}.log",
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        style=style("probe_curves", "probe_curves_{task}"),
        readers=READERS,
        labels=LABELS,
        stage=STAGES["figures"],
    message:
        "Figure: {wildcards.task} by lens and by probe, with control and floors, a panel per model."
    shell:
        "{RUN}/figure.py probe_curves --task {wildcards.task} --metrics {input.metrics}"
        " --probes {input.probes} --labels {params.labels:q} --style {params.style:q}"
        " {params.readers} --out {R}/figures/probe_curves_{wildcards.task} --log {log}"


rule figure_readout:
    input:
        metrics=expand(f"{R}/metrics/{{model}}/{{{{task}}}}.csv", model=study.compared),
        probes=expand(f"{R}/probes/{{model}}/{{{{task}}}}.csv", model=study.compared),
    output:
        figure("readout_{task}", "Probes"),
    log:
        f"{R}/logs/figures/readout_{{task}}.log",
    wildcard_constraints:
        task=one_of(CALCULATION),
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        style=style("readout", "readout_{task}"),
        lens=config["report"]["lens"],
        labels=LABELS,
        stage=STAGES["figures"],
    message:
        "Figure: {wildcards.task}, result and operation read off the prompt's end, beside the lens."
    shell:
        "{RUN}/figure.py readout --task {wildcards.task} --metrics {input.metrics}"
        " --probes {input.probes} --lens {params.lens} --labels {params.labels:q}"
        " --style {params.style:q}"
        " --out {R}/figures/readout_{wildcards.task} --log {log}"


rule figure_emergence:
    input:
        metrics=compared(f"{R}/metrics/{{model}}/{{task}}.csv"),
        probes=compared(f"{R}/probes/{{model}}/{{task}}.csv"),
    output:
        figure("emergence", "Layers"),
    log:
        f"{R}/logs/figures/emergence.log",
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        style=style("emergence", "emergence"),
        readers=READERS,
        labels=LABELS,
        stage=STAGES["figures"],
    message:
        "Figure: the layer at which each task first reaches 90 % of its best."
    shell:
        "{RUN}/figure.py emergence --metrics {input.metrics} --probes {input.probes}"
        " --labels {params.labels:q} --style {params.style:q} {params.readers}"
        " --out {R}/figures/emergence --log {log}"


rule figure_transfer:
    input:
        f"{R}/transfer/{{model}}.csv",
    output:
        figure("transfer_{model}", "Probes"),
    log:
        f"{R}/logs/figures/transfer_{{model}}.log",
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        style=style("transfer", "transfer_{model}"),
        probe=config["report"]["probe"],
        labels=lambda wildcards: labels_of([wildcards.model]),
        stage=STAGES["figures"],
    message:
        "Figure: probes of {wildcards.model} fitted on one task and read on another."
    shell:
        "{RUN}/figure.py transfer --model {wildcards.model} --transfer {input}"
        " --labels {params.labels:q} --style {params.style:q} --probe {params.probe}"
        " --out {R}/figures/transfer_{wildcards.model} --log {log}"


rule figure_paper_comparison:
    input:
        metrics=expand(f"{R}/metrics/{{model}}/{{{{task}}}}.csv", model=study.published["models"]),
        published=PUBLISHED,
    output:
        figure("paper_comparison_{task}", "Paper"),
    log:
        f"{R}/logs/figures/paper_comparison_{{task}}.log",
    wildcard_constraints:
        task=one_of(study.published["tasks"]),
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        style=style("paper_comparison", "paper_comparison_{task}"),
        paper=PAPER,
        labels=LABELS,
        stage=STAGES["figures"],
    message:
        "Figure: {wildcards.task} as published and as measured."
    shell:
        "{RUN}/figure.py paper_comparison --task {wildcards.task} --metrics {input.metrics}"
        " --published {input.published:q} --paper {params.paper:q} --labels {params.labels:q}"
        " --style {params.style:q} --out {R}/figures/paper_comparison_{wildcards.task} --log {log}"


rule figure_training:
    input:
        expand(f"{R}/metrics/{{model}}/{{{{task}}}}.csv", model=study.training),
    output:
        figure("training_{task}", "Scales"),
    log:
        f"{R}/logs/figures/training_{{task}}.log",
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        style=style("training", "training_{task}"),
        shown=SHOWN,
        training=TRAINING,
        labels=ALL_LABELS,
        stage=STAGES["figures"],
    message:
        "Figure: {wildcards.task} over training steps, a line per run."
    shell:
        "{RUN}/figure.py training --task {wildcards.task} --metrics {input}"
        " --training {params.training:q} --labels {params.labels:q} --style {params.style:q}"
        " {params.shown} --out {R}/figures/training_{wildcards.task} --log {log}"
