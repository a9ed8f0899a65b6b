# Tables and figures: a rule for each entry of the catalogue (strata.report.catalogue).


for kind, entries in CATALOGUE.items():
    for entry in entries.values():
        instances = study.instances(entry)
        if not instances:
            continue

        # Short, and where the reader is: not worth a cluster's job.
        rule:
            name:
                f"{kind}_{entry.name}"
            input:
                **inputs_of(entry),
                new=unrecorded,
            output:
                **reported(kind, entry),
            log:
                f"<results>/logs/{kind}s/{entry.stem()}.log",
            wildcard_constraints:
                **{
                    part: one_of(dict.fromkeys(one[part] for one in instances))
                    for part in entry.over
                },
            localrule: True
            resources:
                **growing(entry.mem_mb, entry.runtime),
            params:
                asked=f"{kind}.py {entry.name}",
                files=files_given(entry),
                options=options_given(kind, entry),
                stage=STAGES[f"{kind}s"],
            message:
                f"{kind.capitalize()}: {entry.shows.replace('{', '{wildcards.')}."
            # Read when a job runs, after the loop: it can't name the loop's variables.
            shell:
                "{RUN}/{params.asked} {params.files} {params.options} --out {output.txt} --log {log}"


# A study of one task or one model lacks what sets several side by side: said, not drawn half.
UNDRAWN = "".join(
    f" Without {name}, which takes several {few}." for name, few in study.undrawn.items()
)


rule tables:
    """Every table, as csv (everything), md, tex and html (what a reader wants)."""
    input:
        stands_on(),
        [outputs("table", name).values() for name in study.tables],
    localrule: True
    message:
        "Every table of the study {study.name}."


rule figures:
    """Every figure, as pdf and png."""
    input:
        stands_on(),
        [outputs("figure", name).values() for name in study.figures],
    localrule: True
    message:
        "Every figure of the study {study.name}.{UNDRAWN}"
