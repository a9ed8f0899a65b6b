# From scores to accuracies with intervals.


rule measure:
    input:
        f"{R}/scores/{{model}}/{{task}}.h5",
    output:
        f"{R}/metrics/{{model}}/{{task}}.csv",
    log:
        f"{R}/logs/measure/{{model}}/{{task}}.log",
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        stage=STAGES["metrics"],
    message:
        "Measuring {wildcards.model} on {wildcards.task}."
    shell:
        "{RUN}/measure.py --scores {input} --model {wildcards.model} --task {wildcards.task}"
        " --out {output} --log {log}"
