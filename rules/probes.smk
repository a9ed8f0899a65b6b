# From dumps to fitted probes: held-out decisions, their scores, and what transfers between tasks.


rule probe:
    input:
        scores="<results>/scores/{model}/{task}.h5",
        dumps=lambda wildcards: dumps(wildcards.model, wildcards.task),
        jsonl="<results>/tasks/{task}.jsonl",
        asked=probes_asked,
    output:
        table="<results>/probes/{model}/{task}.csv",
        decisions="<results>/probes/{model}/{task}.h5",
    log:
        "<results>/logs/probe/{model}/{task}.log",
    benchmark:
        "<results>/benchmarks/probe/{model}/{task}.tsv"
    threads: config["threads"]
    resources:
        # As extractions ask; unplanned, each thread holds a layer.
        mem_mb=planned("probe_bytes", 5000 + 3000 * config["threads"], 1.25e-6, 6000),
        runtime=planned("probe_seconds", 720, 2 / 60, 10),
        gpu=PROBE_CARDS,
    params:
        # Of inputs too, so that they rerun nothing: `asked` does.
        plan=lambda wildcards, input: as_json(asked.read_asked(input.asked)["plan"]),
        calculation=lambda wildcards, input: "--calculation"
        * asked.read_asked(input.asked)["calculation"],
    message:
        "Probing {wildcards.model} on {wildcards.task}: every layer, held-out folds, redrawn labels."
    shell:
        "{RUN}/probe.py --model {wildcards.model} --task {wildcards.task} --scores {input.scores}"
        " --dumps {input.dumps} --items {input.jsonl} {params.calculation} --plan {params.plan:q}"
        " --threads {threads} {PROBE_DEVICE} --decisions {output.decisions} --out {output.table}"
        " --log {log}"


rule transfer:
    input:
        decisions=expand("<results>/probes/{{model}}/{task}.h5", task=study.tasks),
        dumps=lambda wildcards: [
            path for task in study.tasks for path in dumps(wildcards.model, task)
        ],
        new=unrecorded,
    output:
        "<results>/transfer/{model}.csv",
    log:
        "<results>/logs/transfer/{model}.log",
    threads: config["threads"]
    resources:
        # A few fits at two layers; it holds one layer of all tasks at a time.
        mem_mb=planned("probe_bytes", 16000, 1.25e-6, 16000),
        runtime=planned("probe_seconds", 240, 2 / 60, 10, sum),
        gpu=PROBE_CARDS,
    params:
        plan=PROBE_PLAN,
        stage=STAGES["probes"],
    message:
        "Reading every task of {wildcards.model} with the probes of every other."
    shell:
        "{RUN}/transfer.py --model {wildcards.model} --decisions {input.decisions}"
        " --dumps {input.dumps} --plan {params.plan:q} --threads {threads} {PROBE_DEVICE}"
        " --out {output} --log {log}"
