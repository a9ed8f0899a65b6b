# The pages a reader opens: the explorer, and Snakemake's own report; and what all was made of.

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


# Of what every result was made, as Snakemake has it on record: asked anew, as the report is.
rule provenance:
    """What everything was made of and by, file by file: R/provenance.json."""
    input:
        rules.tables.input,
        rules.figures.input,
    output:
        study="<results>/study.json",
        record="<results>/provenance.json",
        page=report(
            "<results>/provenance.html",
            category=f"{1 + len(QUESTIONS)} Provenance",
            labels={"Record": "What everything was made of and by; files in provenance.json."},
        ),
    log:
        "<results>/logs/provenance.log",
    localrule: True
    resources:
        **growing(2000, 10),
    params:
        # Of outputs too, so that it reruns nothing: what was computed are its inputs.
        study=lambda wildcards, output: as_json(going_by(Path(R), config)),
        snakefile=workflow.main_snakefile,
        summary=f"{R}/.summary.tsv",
    message:
        "Provenance: configuration, models, data, code and machine of {study.name}, file by file."
    shell:
        "{RUN}/draft.py --study {params.study:q} --shown {R}/tables {R}/figures --out {output.study}"
        " --log {log} &&"
        " {PYTHON} -m snakemake tables figures --snakefile {params.snakefile:q} --nolock"
        " --detailed-summary --configfile {output.study} > {params.summary} 2> {log} &&"
        " {RUN}/provenance.py --study {output.study} --results {R} --summary {params.summary}"
        " --datasets {DATASETS:q} --out {output.record} --page {output.page} --log {log}"


# Snakemake makes it of finished jobs, so it is called anew: with the study as it is after all its
# files and options, and without the lock that the run around it holds.
rule report:
    """One page that holds every table and figure: R/report.html."""
    input:
        rules.tables.input,
        rules.figures.input,
        study=rules.provenance.output.study,
        made_of=rules.provenance.output.page,
        style=ROOT / "report" / "style.css",
    output:
        page="<results>/report.html",
    log:
        "<results>/logs/report.log",
    localrule: True
    resources:
        **growing(2000, 10),
    params:
        snakefile=workflow.main_snakefile,
        # As Snakemake writes it, before seal.py makes it safe to open.
        draft=f"{R}/.draft.html",
    message:
        "Report: every table and figure of the study {study.name} on one page, {output.page}."
    shell:
        "{PYTHON} -m snakemake tables figures {input.made_of} --snakefile {params.snakefile:q} --nolock"
        " --report {params.draft} --report-stylesheet {input.style:q} --configfile {input.study} > {log} 2>&1 &&"
        " {RUN}/seal.py --page {params.draft} --shown {R}/tables {R}/figures --out {output.page}"
