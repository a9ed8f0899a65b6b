# From scores to accuracies with intervals.


rule measure:
    message:
        "Measuring {wildcards.model} on {wildcards.task}."
    input:
        f"{R}/scores/{{model}}/{{task}}.h5",
    output:
        f"{R}/metrics/{{model}}/{{task}}.csv",
    log:
        f"{R}/logs/measure/{{model}}/{{task}}.log",
    params:
        stage=STAGES["metrics"],
    resources:
        mem_mb=4000,
        runtime=30,
    shell:
        "{RUN}/measure.py --scores {input} --model {wildcards.model} --task {wildcards.task}"
        " --out {output} --log {log}"
