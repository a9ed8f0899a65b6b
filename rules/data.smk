# Download and preparation: from pinned files and generators to one multiple-choice form.


localrules:
    download,
    prepare,


rule download:
    output:
        "data/raw/{path}",
    log:
        "logs/download/{path}.log",
    wildcard_constraints:
        path=one_of(PINNED),
    resources:
        mem_mb=growing(500),
        runtime=growing(30),
    params:
        pinned=lambda wildcards: as_json(
            {key: PINNED[wildcards.path][key] for key in ("url", "git_blob", "sha256")}
        ),
    message:
        "Fetching and verifying {wildcards.path}."
    shell:
        "{RUN}/download.py --path {wildcards.path} --datasets {DATASETS:q}"
        " --mirror={MIRROR:q} --out {output} --log {log}"


rule prepare:
    input:
        raw_files,
    output:
        jsonl=f"{R}/tasks/{{task}}.jsonl",
        audit=f"{R}/tasks/{{task}}.audit.json",
    log:
        f"{R}/logs/prepare/{{task}}.log",
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        options=task_options,
        stage=STAGES["prepare"],
    message:
        "Bringing {wildcards.task} into the multiple-choice form and auditing it."
    shell:
        "{RUN}/prepare.py --task {wildcards.task} --options {params.options:q}"
        " --raw data/raw --out {output.jsonl} --audit {output.audit} --log {log}"
