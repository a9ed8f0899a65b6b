"""The results of a study as frames and arrays: `strata.open("results/embedded")`."""

import io
from dataclasses import asdict
from functools import cached_property
from pathlib import Path

import pandas as pd

from strata.asked import facts_of
from strata.errors import StrataError, known
from strata.files import located, parse_object
from strata.integrity import extraction_of, verified
from strata.items import read_items
from strata.measures.metrics import with_lengths
from strata.report import frames
from strata.store import (
    Decisions,
    Dump,
    Scores,
    read_attributes,
    read_decisions,
    read_dump,
    read_scores,
)


class Results:
    """What a study has in its folder, read when it is asked for.

    models, tasks: their names, in the study's order once it has run to its end (study.json), before
    that by the alphabet. Raises StrataError, with the file or the nearest name, for what is not
    there.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.models, self.tasks = self._selected()
        if not self.models:
            raise StrataError(
                f"{located(folder)} holds no results of a study: they are in results/NAME, where "
                "`snakemake` ran"
            )

    def _selected(self) -> tuple[list[str], list[str]]:
        path = self.folder / "study.json"
        if path.is_file():
            try:
                chosen = parse_object(verified(path))["select"]
                return list(chosen["models"]), list(chosen["tasks"])
            except (ValueError, KeyError, TypeError) as error:
                raise StrataError(f"{path} is no study ({error!r}); make the report anew") from None
        scores = sorted(self.folder.glob("scores/*/*.h5"))
        return sorted({own.parent.name for own in scores}), sorted({own.stem for own in scores})

    def __repr__(self) -> str:
        name, models, tasks = self.folder.name, len(self.models), len(self.tasks)
        return f"<study {name}: {models} models on {tasks} tasks>"

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """A row a model, task, subtask, layer, lens and metric: value, n, chance, tie_rate, stderr
        and the 95 % interval, ci_low to ci_high (docs/statistics.md), as shares of 1."""
        return frames.read_metrics(self._files("metrics", "csv"))

    @cached_property
    def probes(self) -> pd.DataFrame:
        """A row a model, task, features, layer, target, probe, metric, labels (docs/probes.md)."""
        return frames.read_probes(self._files("probes", "csv"))

    @cached_property
    def findings(self) -> pd.DataFrame:
        """A row a claim, model and task, with its verdict: the table `findings`."""
        return self.table("findings")

    def table(self, name: str) -> pd.DataFrame:
        """A table of the study by its name, such as "emergence" or "layers_micro-l"."""
        paths = {path.stem: path for path in self.folder.glob("tables/*.csv")}
        path = paths[known(name, sorted(paths), "tables of the study")]
        try:
            return pd.read_csv(io.BytesIO(verified(path)))
        except ValueError as error:
            raise StrataError(f"{path} cannot be read as a table ({error})") from None

    def items(self, task: str) -> pd.DataFrame:
        """The questions of a task by their ids: group, subtask, prompt, choices, the flags of those
        that are correct, and the number of the best."""
        path = self._path(f"tasks/{known(task, self.tasks, 'tasks of the study')}.jsonl")
        return pd.DataFrame(map(asdict, read_items(path))).set_index("id")

    def scores(self, model: str, task: str) -> Scores:
        """Log-probabilities of every choice at every layer, by lens (layers + 1, choices); where a
        study looks at some layers (`layers`), a row for each of its `looked_at`."""
        path = self._of("scores", model, task)
        items = self.folder / "tasks" / f"{task}.jsonl"
        facts = facts_of(self.folder / "models" / f"{model}.json", items)
        found = read_scores(path, {"model": model, "task": task, **facts})
        return with_lengths(found, read_items(items)) if items.exists() else found

    def decisions(self, model: str, task: str) -> Decisions:
        """What the probes say of every choice, held out, a row for each layer of `looked_at`."""
        return read_decisions(self._of("probes", model, task))

    def dump(self, model: str, task: str, layer: int) -> Dump:
        """The residual stream at one layer, 0 (embedding) to the last: activations (choices,
        d_model) and prompts (items, d_model), float32."""
        folder = self._path(f"activations/{known(model, self.models, 'models of the study')}")
        folder = folder / known(task, self.tasks, "tasks of the study")
        names = sorted(folder.glob("layer_*.h5"))
        paths = {int(path.stem.removeprefix("layer_")): path for path in names}
        if layer not in paths:
            there = ", ".join(map(str, paths)) or "none"
            raise StrataError(f"{folder} has no layer {layer}; there are {there}")
        scores = self.folder / "scores" / model / f"{task}.h5"
        own = extraction_of(read_attributes(scores)[0]) if scores.exists() else {}
        return read_dump(paths[layer], {**own, "layer": layer})

    def choices(self, model: str, task: str, lens: str) -> pd.DataFrame:
        """A row a choice that was scored, by its item's id and number: its text, whether it is
        correct and best, its tokens, and its log-probability (nats) at each layer, columns 0 to L,
        or those that were looked at."""
        scores, items = self.scores(model, task), self.items(task)
        known(lens, scores.logprob, f"lenses of {model} on {task}")
        ids = [scores.ids[item] for item in scores.item]
        texts = [
            items.choices[name][number] for name, number in zip(ids, scores.choice, strict=True)
        ]
        own = {"text": texts, "correct": scores.correct, "best": scores.best}
        index = pd.MultiIndex.from_arrays([ids, scores.choice], names=["id", "choice"])
        left = pd.DataFrame(own | {"tokens": scores.tokens}, index)
        values = pd.DataFrame(scores.logprob[lens].T, index, scores.looked_at, dtype=float)
        return left.join(values)

    def _of(self, kind: str, model: str, task: str) -> Path:
        names = (
            known(model, self.models, "models of the study"),
            known(task, self.tasks, "tasks of the study"),
        )
        return self._path(f"{kind}/{names[0]}/{names[1]}.h5")

    def _path(self, name: str) -> Path:
        path = self.folder / name
        if not path.exists():
            raise StrataError(
                f"{path} is not there: the study did not ask for it (`activations`), has not come "
                "so far, or its folder was copied without it"
            )
        return path

    def _files(self, kind: str, ending: str) -> list[Path]:
        pairs = ((model, task) for model in self.models for task in self.tasks)
        return [self._path(f"{kind}/{model}/{task}.{ending}") for model, task in pairs]
