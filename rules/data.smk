# Download and preparation: from pinned files and generators to one multiple-choice form.


def raw_files(wildcards):
    options = study.tasks[wildcards.task]
    own = sources.own_files(options)
    return [f"data/raw/{path}" for path in sources.files(options)] + own


def task_options(wildcards):
    """What the task's items depend on."""
    return as_json({k: v for k, v in study.tasks[wildcards.task].items() if k != "label"})


rule download:
    message:
        "Fetching and verifying {wildcards.path}."
    output:
        "data/raw/{path}",
    wildcard_constraints:
        path=one_of(PINNED),
    log:
        "logs/download/{path}.log",
    params:
        pinned=lambda wildcards: as_json(
            {key: PINNED[wildcards.path][key] for key in ("url", "git_blob", "sha256")}
        ),
    resources:
        mem_mb=500,
        runtime=30,
    shell:
        "{RUN}/download.py --path {wildcards.path} --datasets {DATASETS:q}"
        " --mirror {config[mirror]:q} --out {output} --log {log}"


rule prepare:
    message:
        "Bringing {wildcards.task} into the multiple-choice form and auditing it."
    input:
        raw_files,
    output:
        items=f"{R}/tasks/{{task}}.jsonl",
        audit=f"{R}/tasks/{{task}}.audit.json",
    log:
        f"{R}/logs/prepare/{{task}}.log",
    params:
        options=task_options,
        stage=STAGES["prepare"],
    resources:
        mem_mb=2000,
        runtime=30,
    shell:
        "{RUN}/prepare.py --task {wildcards.task} --options {params.options:q}"
        " --raw data/raw --out {output.items} --audit {output.audit} --log {log}"
