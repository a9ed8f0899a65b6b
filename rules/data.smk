# Download and preparation: from pinned files and generators to one multiple-choice form.


rule download:
    output:
        "data/raw/{path}",
    log:
        "logs/download/{path}.log",
    wildcard_constraints:
        path=one_of(PINNED),
    localrule: True
    resources:
        **growing(500, 30),
    params:
        pinned=lambda wildcards: as_json(
            {key: PINNED[wildcards.path][key] for key in ("url", "git_blob", "sha256")}
        ),
    message:
        "Fetching and verifying {wildcards.path}."
    shell:
        "{RUN}/download.py --path {wildcards.path} --datasets {DATASETS:q}"
        " --mirror={MIRROR:q} --out {output} --log {log}"


rule fetch_set:
    output:
        f"{SETS_FOLDER}/{{set}}",
    log:
        "logs/fetch_set/{set}.log",
    wildcard_constraints:
        set=one_of(os.path.relpath(path, SETS_FOLDER) for path in SETS),
    localrule: True
    resources:
        **growing(4000, 60),
    params:
        own=lambda wildcards: as_json(SETS[f"{SETS_FOLDER}/{wildcards.set}"]),
    message:
        "Fetching a data set from the hub: {wildcards.set}."
    shell:
        "{RUN}/fetch_set.py --set {params.own:q} --out {output} --log {log}"


rule prepare:
    input:
        raw_files,
        asked=task_asked,
    output:
        jsonl="<results>/tasks/{task}.jsonl",
        audit="<results>/tasks/{task}.audit.json",
    log:
        "<results>/logs/prepare/{task}.log",
    localrule: True
    resources:
        **growing(2000, 30),
    params:
        # Of inputs too, so that it reruns nothing: `asked` does.
        options=lambda wildcards, input: as_json(asked.read_asked(input.asked)["options"]),
    message:
        "Bringing {wildcards.task} into the multiple-choice form and auditing it."
    shell:
        "{RUN}/prepare.py --task {wildcards.task} --options {params.options:q}"
        " --raw data/raw --datasets {DATASETS:q} --out {output.jsonl} --audit {output.audit} --log {log}"
