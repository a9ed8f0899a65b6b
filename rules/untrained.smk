# A floor for the findings: models of the same shape that know nothing, scored on the same items.


# The weights go once they are scored: what they say can be had again from their seed.
rule untrained:
    input:
        model=f"{R}/models/{{model}}.json",
        files=model_files,
    output:
        weights=temp(directory(f"{R}/untrained/{{model}}/weights")),
        model=f"{R}/untrained/{{model}}/model.json",
    log:
        f"{R}/logs/untrained/{{model}}.log",
    resources:
        mem_mb=growing(12000),
        runtime=growing(120),
    params:
        stage=STAGES["untrained"],
    message:
        "Drawing an untrained model of the shape of {wildcards.model}."
    shell:
        "{RUN}/untrained.py --model {input.model} --folder {output.weights} --out {output.model}"
        " --log {log}"


rule extract_untrained:
    input:
        weights=f"{R}/untrained/{{model}}/weights",
        model=f"{R}/untrained/{{model}}/model.json",
        jsonl=[f"{R}/tasks/{task}.jsonl" for task in study.tasks],
    output:
        [f"{R}/untrained/{{model}}/{task}.h5" for task in study.tasks],
    log:
        f"{R}/logs/extract_untrained/{{model}}.log",
    benchmark:
        f"{R}/benchmarks/extract_untrained/{{model}}.tsv"
    threads: config["threads"]
    resources:
        mem_mb=growing(8000),
        runtime=growing(2880),
        gpu=study.gpus,
    params:
        tasks=" ".join(study.tasks),
        lenses=" ".join(config["lenses"]),
        overlong=config["overlong"],
        dtype=lambda wildcards: study.models[wildcards.model].get("dtype", "auto"),
        chat=lambda wildcards: "--chat" * study.models[wildcards.model].get("chat", False),
        tf32="--tf32" * config["tf32"],
        stage=STAGES["extract"],
    message:
        "Scoring {params.tasks} with an untrained model of the shape of {wildcards.model}."
    shell:
        "{RUN}/extract.py --model {input.model} --items {input.jsonl} --tasks {params.tasks}"
        " --lenses {params.lenses} --overlong {params.overlong} --dtype {params.dtype}"
        " {params.chat} {params.tf32} {DEVICE} --threads {threads}"
        " --work {R}/unfinished/untrained/{wildcards.model} --scores {output} --log {log}"
