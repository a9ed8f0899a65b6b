"""The catalogue: every table and figure of a study, an entry each.

Rules, scripts, the lists of a study and docs/catalogue.md all follow from it; to add one, write its
function and its entry. Imports nothing heavy: it is read while the Snakefile is parsed, and the
functions are named, not imported.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pkgutil import resolve_name
from typing import Any

from strata.names import RIDGE

# The parts of the report, in its order.
QUESTIONS = ("Scales", "Layers", "Languages", "Probes", "Controls", "Paper", "Audit")
# The files that each is written as.
FORMS = {"table": ("csv", "md", "tex", "html", "txt"), "figure": ("pdf", "png", "txt")}
# Files that there may be none of.
OPTIONAL = ("decisions", "floors", "best", "audits")
# Options that are JSON.
MAPPINGS = ("abilities", "bases", "paper", "training")


@dataclass(frozen=True)
class Entry:
    """A kind of table or figure.

    question: the part of the report that shows it. shows: what it shows, in words; {task} and the
        like stand for what it is one of.
    make: "module:function" that makes it from frames of its files, in their order, then labels,
        then options and `over` by name, and for a figure its style.
    files: what it is made of, by the names of frames.READERS. options: what of the study it asks
        for.
    over: what there is one for each of (task, model, kind, digits).
    models: whose results it shows: all, compared (of a training run the last checkpoint), sizes
        (those of them that are no other precision of another), precisions (these others, and what
        they are compared with), training (the checkpoints), published (those that are the paper's).
    tasks: which: all, calculation, in_languages, in_parts (with subtasks of their own), published.
    several: what a study must have two of at least: models, tasks, lenses. chosen: made only where
        the study's `figures` name it.
    probe: the probe that must have been fitted, if it takes a certain one.
    style: a figure's own keys and their defaults (style.KEYS).
    mem_mb, runtime: megabytes and minutes of its job, at the first attempt.
    """

    name: str
    question: str
    shows: str
    make: str
    files: tuple[str, ...]
    options: tuple[str, ...] = ()
    over: tuple[str, ...] = ()
    models: str = "compared"
    tasks: str = "all"
    several: tuple[str, ...] = ()
    chosen: bool = False
    probe: str | None = None
    style: dict[str, Any] = field(default_factory=dict)
    mem_mb: int = 2000
    runtime: int = 10

    def stem(self, **one: str) -> str:
        """Name of its files: {task} and the like as they are, or filled in."""
        stem = "_".join([self.name, *(f"{{{part}}}" for part in self.over)])
        return stem.format(**one) if one else stem

    @property
    def function(self) -> Callable:
        return resolve_name(self.make)

    @property
    def fitted(self) -> bool:
        """Whether it needs probes."""
        return bool({"probes", "transfer"} & set(self.files))


READ = ("lens", "metric")
MAP = {"layers": "auto", "values": True, "colormap": "viridis", "scale": "auto"}
OVER_LAYERS = {"x": "layer", "y_range": "auto", "band": True}
CURVES = {**OVER_LAYERS, "embedding": True}

TABLES = {
    entry.name: entry
    for entry in (
        Entry(
            name="overall",
            question="Scales",
            shows="models x tasks, at the last and at the best layer",
            make="strata.report.tables.overview:overall_table",
            files=("metrics", "best", "audits"),
            options=READ,
        ),
        Entry(
            name="layers",
            question="Layers",
            shows="every layer of {model} x every task",
            make="strata.report.tables.layers:layers_table",
            files=("metrics",),
            options=READ,
            over=("model",),
            models="all",
        ),
        Entry(
            name="calculation",
            question="Layers",
            shows="calculation by model, layer, kind, digits and operation",
            make="strata.report.tables.layers:calculation_table",
            files=("metrics",),
            options=READ,
            tasks="calculation",
        ),
        Entry(
            name="cross_lingual",
            question="Languages",
            shows="cross-lingual tasks by model, layer and language",
            make="strata.report.tables.layers:cross_lingual_table",
            files=("metrics",),
            options=READ,
            tasks="in_languages",
        ),
        Entry(
            name="subtasks",
            question="Layers",
            shows="tasks of one's own by their subtasks",
            make="strata.report.tables.layers:subtasks_table",
            files=("metrics",),
            options=READ,
            tasks="in_parts",
        ),
        Entry(
            name="audit",
            question="Audit",
            shows="what is odd in each set of items, and what it gives a reader without a model",
            make="strata.report.tables.runs:audit_table",
            files=("audits", "tasks"),
        ),
        Entry(
            name="leaks",
            question="Audit",
            shows="what the items that a set gives away do to the last layer",
            make="strata.report.tables.runs:leaks_table",
            files=("scores", "audits"),
            options=READ,
        ),
        Entry(
            name="extraction",
            question="Audit",
            shows="what was run: items, choices, tokens, items too long, boundaries merged",
            make="strata.report.tables.runs:extraction_table",
            files=("scores",),
            models="all",
        ),
        Entry(
            name="comparisons",
            question="Scales",
            shows="paired tests of layers, models, probe and lens, corrected for multiplicity",
            make="strata.report.tables.comparisons:comparisons_table",
            files=("scores", "decisions"),
            options=(*READ, "probe"),
            mem_mb=4000,
            runtime=30,
        ),
        Entry(
            name="scaling",
            question="Scales",
            shows="how the odds of a right answer grow with a model's size, by task",
            make="strata.report.tables.scaling:scaling_table",
            files=("scores", "models"),
            options=READ,
            models="sizes",
            mem_mb=4000,
        ),
        Entry(
            name="precision",
            question="Scales",
            shows="what other precisions of a model cost, beside their base, models x tasks",
            make="strata.report.tables.precision:precision_table",
            files=("scores",),
            options=(*READ, "bases"),
            models="precisions",
            mem_mb=4000,
        ),
        Entry(
            name="probes",
            question="Probes",
            shows="what probes read, models x layers x tasks",
            make="strata.report.tables.probes:probes_table",
            files=("probes",),
            options=("probe",),
        ),
        Entry(
            name="lens_vs_probe",
            question="Controls",
            shows="lens, probe, redrawn labels and floors on the same items",
            make="strata.report.tables.probes:lens_vs_probe_table",
            files=("metrics", "probes", "scores", "decisions"),
            options=("lens", "probe"),
            mem_mb=4000,
            runtime=30,
        ),
        Entry(
            name="emergence",
            question="Layers",
            shows="the layer at which each task has half of its rise above its baseline",
            make="strata.report.tables.emergence:emergence_table",
            files=("scores", "decisions"),
            options=("lens", "probe"),
            mem_mb=4000,
            runtime=30,
        ),
        Entry(
            name="settling",
            question="Layers",
            shows="by which layer answers settle, and how sure the last layer's are",
            make="strata.report.tables.settling:settling_table",
            files=("scores",),
            options=("lens",),
            mem_mb=4000,
        ),
        Entry(
            name="transfer",
            question="Probes",
            shows="probes fitted on one task and read on another",
            make="strata.report.tables.probes:transfer_table",
            files=("transfer",),
            options=("probe",),
        ),
        Entry(
            name="paper_comparison",
            question="Paper",
            shows="every published value beside the measured ones",
            make="strata.report.tables.paper:paper_comparison_table",
            files=("metrics", "published", "scores"),
            options=("paper",),
            mem_mb=4000,
        ),
        Entry(
            name="findings",
            question="Paper",
            shows="the paper's findings, tested on this study's models",
            make="strata.report.tables.findings:findings_table",
            files=("scores", "floors", "models"),
            options=(*READ, "abilities"),
            models="sizes",
            mem_mb=4000,
            runtime=30,
        ),
        Entry(
            name="training",
            question="Scales",
            shows="every checkpoint of the training runs, at the last and at the best layer",
            make="strata.report.tables.overview:training_table",
            files=("metrics", "best"),
            options=(*READ, "training"),
            models="training",
        ),
    )
}

FIGURES = {
    entry.name: entry
    for entry in (
        Entry(
            name="size",
            question="Scales",
            shows="accuracy against parameters, at the last and the best layer, a panel per task",
            make="strata.report.figures.size:size",
            files=("metrics", "best", "models"),
            options=READ,
            models="sizes",
            several=("models",),
            style={"y_range": "auto", "blind": True},
        ),
        Entry(
            name="overall",
            question="Scales",
            shows="all abilities at the last layer, dots with intervals or the paper's radar",
            make="strata.report.figures.radars:overall",
            files=("metrics",),
            options=READ,
            style={"form": "dots", "axes": "auto", "r_max": "auto"},
        ),
        Entry(
            name="curves",
            question="Layers",
            shows="{task} over the layers, a line per model",
            make="strata.report.figures.curves:curves",
            files=("metrics",),
            options=READ,
            over=("task",),
            style={**CURVES, "blind": True},
        ),
        Entry(
            name="lenses",
            question="Layers",
            shows="{model} through each lens, a panel per task",
            make="strata.report.figures.curves:lenses",
            files=("metrics",),
            options=("metric",),
            over=("model",),
            several=("lenses",),
            style=CURVES,
        ),
        Entry(
            name="precision",
            question="Scales",
            shows="what other precisions of a model cost, layer by layer, a panel per task",
            make="strata.report.figures.precision:precision",
            files=("precision",),
            options=READ,
            models="precisions",
            style=OVER_LAYERS,
        ),
        Entry(
            name="calculation",
            question="Layers",
            shows="{task}, operations x layers, by kind of number and digits, a panel per model",
            make="strata.report.figures.heat_maps:calculation",
            files=("metrics",),
            options=READ,
            over=("task",),
            tasks="calculation",
            style=MAP,
        ),
        Entry(
            name="calculation_radars",
            question="Layers",
            shows="{task}, {kind}, {digits} digits, by operation, as the paper's radars",
            make="strata.report.figures.radars:calculation_radars",
            files=("metrics",),
            options=READ,
            over=("task", "kind", "digits"),
            tasks="calculation",
            chosen=True,
            style={"form": "radar", "layers": "auto", "r_max": "auto"},
        ),
        Entry(
            name="cross_lingual",
            question="Languages",
            shows="{task}, layers x languages, a panel per model",
            make="strata.report.figures.heat_maps:cross_lingual",
            files=("metrics",),
            options=READ,
            over=("task",),
            tasks="in_languages",
            style=MAP,
        ),
        Entry(
            name="subtasks",
            question="Layers",
            shows="{task}, layers x its own subtasks, a panel per model",
            make="strata.report.figures.heat_maps:subtasks",
            files=("metrics",),
            options=READ,
            over=("task",),
            tasks="in_parts",
            style=MAP,
        ),
        Entry(
            name="probe_curves",
            question="Controls",
            shows="{task} by lens and by probe, over null, floor and baseline, a panel per model",
            make="strata.report.figures.probes:probe_curves",
            files=("metrics", "probes"),
            options=("lens", "probe"),
            over=("task",),
            style=CURVES,
        ),
        Entry(
            name="readout",
            question="Probes",
            shows="{task}, read off the prompt's end and off its text, beside the lens",
            make="strata.report.figures.probes:readout",
            files=("metrics", "probes"),
            options=("lens",),
            over=("task",),
            tasks="calculation",
            probe=RIDGE,
            style=CURVES,
        ),
        Entry(
            name="emergence",
            question="Layers",
            shows="from where each task is above its baseline, to half of its rise",
            make="strata.report.figures.emergence:emergence",
            files=("emergence",),
            style={"x": "depth"},
        ),
        Entry(
            name="settling",
            question="Layers",
            shows="{task}, the share of items whose answer no later layer changes",
            make="strata.report.figures.settling:settling",
            files=("settling",),
            options=("lens",),
            over=("task",),
            style=OVER_LAYERS,
        ),
        Entry(
            name="transfer",
            question="Probes",
            shows="probes fitted on one task and read on another, where chance is ruled out",
            make="strata.report.figures.transfer:transfer",
            files=("transfer",),
            options=("probe",),
            several=("tasks",),
            style={"values": True, "colormap": "RdBu_r", "scale": "auto"},
        ),
        Entry(
            name="paper_comparison",
            question="Paper",
            shows="{task} as published and as measured",
            make="strata.report.figures.paper:paper_comparison",
            files=("metrics", "published"),
            options=("paper",),
            over=("task",),
            models="published",
            tasks="published",
            style=OVER_LAYERS,
        ),
        Entry(
            name="training",
            question="Scales",
            shows="{task} over training steps, a line per run",
            make="strata.report.figures.training:training",
            files=("metrics", "best"),
            options=(*READ, "training"),
            over=("task",),
            models="training",
            style={"layers": "auto", "y_range": "auto", "band": True},
        ),
    )
}
CATALOGUE = {"table": TABLES, "figure": FIGURES}
