# The pages a reader opens: the explorer, and Snakemake's own report, which tells how it was made.

EXPLORED = {
    "name": study.name,
    "labels": study.labels(),
    "lenses": lenses_in_order(),
    "report": config["report"],
    "colors": config["figures"].get("style", {}).get("colors", COLORS),
    "training": study.training,
    "published": study.published,
    "tables": study.tables,
    "figures": study.figures,
}


rule explorer:
    """One page to look at everything in, that opens without a network: R/explorer.html."""
    input:
        rules.tables.input,
        rules.figures.input,
    output:
        page="<results>/explorer.html",
        # What does not fit in the page: none of a small study.
        beside=directory("<results>/explorer"),
    log:
        "<results>/logs/explorer.log",
    localrule: True
    resources:
        **growing(4000, 20),
    params:
        # Called, or Snakemake would take braces of a label for wildcards.
        study=lambda wildcards: json.dumps(EXPLORED, ensure_ascii=False),
        stage=STAGES["explorer"],
    message:
        "Explorer: everything of the study {study.name} on one page, {output.page}."
    shell:
        "{RUN}/explorer.py --results {R} --study {params.study:q}"
        " --beside {output.beside} --out {output.page} --log {log}"


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
        study=lambda wildcards, output: as_json(going_by(Path(R), config)),
        snakefile=workflow.main_snakefile,
        # As Snakemake writes it, before seal.py makes it safe to open.
        draft=f"{R}/.draft.html",
    message:
        "Report: every table and figure of the study {study.name} on one page, {output.page}."
    shell:
        "{RUN}/draft.py --study {params.study:q} --shown {R}/tables {R}/figures --out {output.study}"
        " --log {log} &&"
        " {PYTHON} -m snakemake tables figures --snakefile {params.snakefile:q} --nolock"
        " --report {params.draft} --report-stylesheet {input.style:q} --configfile {output.study} > {log} 2>&1 &&"
        " {RUN}/seal.py --page {params.draft} --out {output.page}"
