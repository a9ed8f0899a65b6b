# From scores to accuracies with intervals.


rule measure:
    input:
        scores="<results>/scores/{model}/{task}.h5",
        jsonl="<results>/tasks/{task}.jsonl",
        new=unrecorded,
    output:
        metrics="<results>/metrics/{model}/{task}.csv",
        best="<results>/best/{model}/{task}.csv",
    log:
        "<results>/logs/measure/{model}/{task}.log",
    resources:
        **growing(4000, 30),
    params:
        lenses=" ".join(lenses_in_order()),
        stage=STAGES["metrics"],
    message:
        "Measuring {wildcards.model} on {wildcards.task}."
    shell:
        "{RUN}/measure.py --scores {input.scores} --items {input.jsonl}"
        " --info {R}/models/{wildcards.model}.json --model {wildcards.model} --task {wildcards.task}"
        " --lenses {params.lenses} --out {output.metrics} --best {output.best} --log {log}"
