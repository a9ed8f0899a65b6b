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


# A rule per model, since the number of its dumps follows from its number of layers.
for model in study.models:

    rule:
        name:
            f"extract_{re.sub(r'[^A-Za-z0-9]', '_', model)}"
        input:
            model=f"{R}/models/{{model}}.json",
            jsonl=f"{R}/tasks/{{task}}.jsonl",
        output:
            scores=f"{R}/scores/{{model}}/{{task}}.h5",
            dumps=dumps(model, "{task}", "{model}"),
        log:
            f"{R}/logs/extract/{{model}}/{{task}}.log",
        benchmark:
            f"{R}/benchmarks/extract/{{model}}/{{task}}.tsv"
        wildcard_constraints:
            model=re.escape(model),
        threads: config["threads"]
        resources:
            mem_mb=8000,
            runtime=720,
            gpu=study.gpus,
        params:
            lenses=" ".join(config["lenses"]),
            overlong=config["overlong"],
            position=config["position"],
            dtype=study.models[model].get("dtype", "auto"),
            stage=STAGES["extract"],
        message:
            "Extracting {wildcards.task} from {wildcards.model}: every layer, every lens."
        shell:
            "{RUN}/extract.py --model {input.model} --items {input.jsonl}"
            " --task {wildcards.task} --lenses {params.lenses} --overlong {params.overlong}"
            " --position {params.position} --dtype {params.dtype} --device {config[device]}"
            " --threads {threads} --batch-tokens {config[batch_tokens]}"
            " --scores {output.scores} --dumps {output.dumps} --log {log}"
