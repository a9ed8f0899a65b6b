"""What an entry of the catalogue says of a table or figure. Imports nothing heavy: it is read while
the Snakefile is parsed, and functions are named, not imported.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pkgutil import resolve_name
from typing import Any

# The parts of the report, in its order.
QUESTIONS = ("Scales", "Layers", "Languages", "Probes", "Controls", "Paper", "Audit")
# The files that each is written as.
FORMS = {"table": ("csv", "md", "tex", "html", "txt"), "figure": ("pdf", "png", "txt")}
# Files that there may be none of.
OPTIONAL = ("decisions", "floors", "best", "audits")
# Files of scores: they may hold more lenses than the study has, and come with the tasks' items,
# which say how long choices are.
SCORED = {"scores", "floors"}
# Options that are JSON.
MAPPINGS = ("abilities", "bases", "paper", "training", "variants")


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
    tasks: which: all, calculation, in_languages, in_parts (with subtasks of their own), in_variants
        (with questions that are asked in several), published.
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
    def scored(self) -> bool:
        """Whether it reads scores."""
        return not SCORED.isdisjoint(self.files)

    @property
    def fitted(self) -> bool:
        """Whether it needs probes."""
        return bool({"probes", "transfer"} & set(self.files))
