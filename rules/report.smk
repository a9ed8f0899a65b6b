# One page that holds every table and figure, by Snakemake's own report.


# Snakemake makes it of finished jobs, so it is called anew: with the study as it is after all its
# files and options, and without the lock that the run around it holds.
rule report:
    """One page that holds every table and figure: R/report.html."""
    input:
        rules.tables.input,
        rules.figures.input,
        style=ROOT / "report" / "style.css",
    output:
        study="<results>/study.json",
        page="<results>/report.html",
    log:
        "<results>/logs/report.log",
    localrule: True
    resources:
        **growing(2000, 10),
    params:
        # Of outputs too, so that it reruns nothing: what the page shows are its inputs.
        study=lambda wildcards, output: as_json(config),
        snakefile=workflow.main_snakefile,
        # As Snakemake writes it, before seal.py makes it safe to open.
        draft=f"{R}/.draft.html",
    message:
        "Report: every table and figure of the study {study.name} on one page, {output.page}."
    shell:
        "printf '%s\n' {params.study:q} > {output.study} &&"
        " {PYTHON} -m snakemake tables figures --snakefile {params.snakefile:q} --nolock"
        " --report {params.draft} --report-stylesheet {input.style:q} --configfile {output.study} > {log} 2>&1 &&"
        " {RUN}/seal.py --page {params.draft} --out {output.page}"
