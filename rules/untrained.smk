# A floor for the findings: models of the same shape that know nothing, scored on the same items.


# The weights go once they are scored: what they say can be had again from their seed.
rule untrained:
    input:
        model="<results>/models/{model}.json",
        files=ancient(model_files),
    output:
        weights=temp(directory("<results>/untrained/{model}/weights")),
        model="<results>/untrained/{model}/model.json",
    log:
        "<results>/logs/untrained/{model}.log",
    resources:
        **growing(12000, 120),
    params:
        # Of inputs too, so that it reruns nothing.
        folder=lambda wildcards, input: folder_option(wildcards.model),
        stage=STAGES["untrained"],
    message:
        "Drawing an untrained model of the shape of {wildcards.model}."
    shell:
        "{RUN}/untrained.py --model {input.model} {params.folder} --weights {output.weights}"
        " --out {output.model} --log {log}"


rule extract_untrained:
    input:
        weights="<results>/untrained/{model}/weights",
        model="<results>/untrained/{model}/model.json",
        jsonl=[f"<results>/tasks/{task}.jsonl" for task in study.tasks],
        asked=lambda wildcards: extraction_asked(wildcards.model, list(study.tasks), "untrained"),
    output:
        [update(f"<results>/untrained/{{model}}/{task}.h5") for task in study.tasks],
    log:
        "<results>/logs/extract_untrained/{model}.log",
    benchmark:
        "<results>/benchmarks/extract_untrained/{model}.tsv"
    threads: config["threads"]
    resources:
        # As its model's.
        mem_mb=planned("host_bytes", 8000, 1.25e-6, 6000),
        runtime=planned("seconds", 2880, 2 / 60, 10, sum),
        gpu=study.gpus,
    params:
        tasks=" ".join(study.tasks),
        # Of inputs too, so that it reruns nothing: `asked` does.
        options=lambda wildcards, input: extraction_options(input.asked),
    message:
        "Scoring {params.tasks} with an untrained model of the shape of {wildcards.model}."
    shell:
        "{RUN}/extract.py --model {input.model} --items {input.jsonl} --tasks {params.tasks}"
        " {params.options} {DEVICE} --threads {threads} --studies {STUDIES} --tokens {TOKENS:q}"
        " --work {R}/unfinished/_untrained/{wildcards.model} --scores {output} --log {log}"
