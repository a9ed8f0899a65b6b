# From dumps to fitted probes: held-out decisions, their scores, and what transfers between tasks.


rule probe:
    input:
        scores=f"{R}/scores/{{model}}/{{task}}.h5",
        dumps=lambda wildcards: dumps(wildcards.model, wildcards.task),
        jsonl=f"{R}/tasks/{{task}}.jsonl",
    output:
        table=f"{R}/probes/{{model}}/{{task}}.csv",
        decisions=f"{R}/probes/{{model}}/{{task}}.h5",
    log:
        f"{R}/logs/probe/{{model}}/{{task}}.log",
    benchmark:
        f"{R}/benchmarks/probe/{{model}}/{{task}}.tsv"
    threads: config["threads"]
    resources:
        mem_mb=growing(8000),
        runtime=growing(720),
    params:
        plan=PROBE_PLAN,
        calculation=lambda wildcards: "--calculation" * (wildcards.task in CALCULATION),
        stage=STAGES["probes"],
    message:
        "Probing {wildcards.model} on {wildcards.task}: every layer, held-out folds, control task."
    shell:
        "{RUN}/probe.py --model {wildcards.model} --task {wildcards.task} --scores {input.scores}"
        " --dumps {input.dumps} --items {input.jsonl} {params.calculation} --plan {params.plan:q}"
        " --decisions {output.decisions} --out {output.table} --log {log}"


rule transfer:
    input:
        decisions=expand(f"{R}/probes/{{{{model}}}}/{{task}}.h5", task=study.tasks),
        dumps=lambda wildcards: [
            path for task in study.tasks for path in dumps(wildcards.model, task)
        ],
    output:
        f"{R}/transfer/{{model}}.csv",
    log:
        f"{R}/logs/transfer/{{model}}.log",
    threads: config["threads"]
    resources:
        mem_mb=growing(16000),
        runtime=growing(240),
    params:
        plan=PROBE_PLAN,
        stage=STAGES["probes"],
    message:
        "Reading every task of {wildcards.model} with the probes of every other."
    shell:
        "{RUN}/transfer.py --model {wildcards.model} --decisions {input.decisions}"
        " --dumps {input.dumps} --plan {params.plan:q} --out {output} --log {log}"
