# From items to dumps and scores: one job per (model, task), in layer-major order.


rule describe:
    input:
        model_files,
    output:
        f"{R}/models/{{model}}.json",
    log:
        f"{R}/logs/describe/{{model}}.log",
    resources:
        mem_mb=2000,
        runtime=240,
    params:
        options=model_options,
        stage=STAGES["describe"],
    message:
        "Resolving {wildcards.model}: revision, hashes and shape."
    shell:
        "{RUN}/describe.py --model {wildcards.model} --options {params.options:q}"
        " --out {output} --log {log}"


# A rule per model, since the number of its dumps follows from its number of layers; a job per task,
# or one for all tasks of a model that says so.
for model in study.models:
    in_one_job = study.in_one_job(model)
    tasks = list(study.tasks) if in_one_job else ["{task}"]
    job = model if in_one_job else f"{model}/{{task}}"

    rule:
        name:
            f"extract_{re.sub(r'[^A-Za-z0-9]', '_', model)}"
        input:
            model=f"{R}/models/{model}.json",
            jsonl=[f"{R}/tasks/{task}.jsonl" for task in tasks],
        output:
            scores=[f"{R}/scores/{model}/{task}.h5" for task in tasks],
            dumps=[path for task in tasks for path in dumps(model, task)],
        log:
            f"{R}/logs/extract/{model}.log"
            if in_one_job
            else f"{R}/logs/extract/{model}/{{task}}.log",
        benchmark:
            f"{R}/benchmarks/extract/{job}.tsv"
        threads: config["threads"]
        resources:
            mem_mb=8000,
            runtime=720,
            gpu=study.gpus,
        params:
            tasks=" ".join(tasks) if in_one_job else lambda wildcards: wildcards.task,
            lenses=" ".join(config["lenses"]),
            overlong=config["overlong"],
            position=config["position"],
            dtype=study.models[model].get("dtype", "auto"),
            tf32="--tf32" * config["tf32"],
            work=f"{R}/unfinished/{model}",
            stage=STAGES["extract"],
        message:
            f"Extracting {{params.tasks}} from {model}: every layer, every lens."
        shell:
            "{RUN}/extract.py --model {input.model} --items {input.jsonl}"
            " --tasks {params.tasks} --lenses {params.lenses} --overlong {params.overlong}"
            " --position {params.position} --dtype {params.dtype} {params.tf32} {DEVICE}"
            " --threads {threads} --work {params.work}"
            " --scores {output.scores} --dumps {output.dumps} --log {log}"
