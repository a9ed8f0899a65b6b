# From scores to accuracies with intervals.


rule measure:
    input:
        "<results>/scores/{model}/{task}.h5",
    output:
        metrics="<results>/metrics/{model}/{task}.csv",
        best="<results>/best/{model}/{task}.csv",
    log:
        "<results>/logs/measure/{model}/{task}.log",
    resources:
        **growing(4000, 30),
    params:
        stage=STAGES["metrics"],
    message:
        "Measuring {wildcards.model} on {wildcards.task}."
    shell:
        "{RUN}/measure.py --scores {input} --model {wildcards.model} --task {wildcards.task}"
        " --out {output.metrics} --best {output.best} --log {log}"
