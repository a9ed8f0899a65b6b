# Teaching the embedded models anew. Not part of `all`: data/embedded holds the taught ones.

EMBEDDED = ("strata-micro-s", "strata-micro-m", "strata-micro-l")
TAUGHT = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "curves.csv",
    "curves.png",
)


rule pretrain:
    """The embedded models, taught anew, in results/pretrain."""
    input:
        expand("results/pretrain/{pupil}/{file}", pupil=EMBEDDED, file=TAUGHT),
    localrule: True
    message:
        "The embedded models, taught anew under results/pretrain."


# One thread a model: sums are taken in the same order everywhere, and two cores teach two models
# at once. The checkpoint is no output, so that it outlives a job that is stopped.
rule pretrain_model:
    output:
        expand("results/pretrain/{{pupil}}/{file}", file=TAUGHT),
    log:
        "results/pretrain/logs/{pupil}.log",
    benchmark:
        "results/pretrain/benchmarks/{pupil}.tsv"
    wildcard_constraints:
        pupil="|".join(EMBEDDED),
    threads: 1
    resources:
        **growing(3000, 180),
    params:
        folder="results/pretrain/{pupil}",
        checkpoint="results/pretrain/checkpoints/{pupil}.pt",
    message:
        "Teaching {wildcards.pupil} the microworld."
    shell:
        "OMP_NUM_THREADS=1 {RUN}/pretrain.py --model {wildcards.pupil}"
        " --checkpoint {params.checkpoint} --out {params.folder} --log {log}"
