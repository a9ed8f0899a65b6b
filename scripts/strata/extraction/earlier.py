"""What earlier extractions of the same content left, under whatever names of model and study."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from strata.asked import LAYERS, Made, includes, made_extraction
from strata.store import Scores, read_scores
from strata.unfinished import KEPT


@dataclass
class Earlier:
    """scores: of a file that was found, with the wanted log-probabilities of all that were found,
    by lens; None if there are none. dumps: files of every layer that is asked for, or none. names:
    of the files of scores."""

    scores: Scores | None = None
    dumps: list[Path] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)

    @property
    def names(self) -> str:
        return ", ".join(map(str, self.files))

    @property
    def lenses(self) -> set[str]:
        return set(self.scores.logprob) if self.scores else set()


def look_up(
    studies: str | Path | None, own: Path, asked: Made, lenses: Sequence[str], layers: Sequence[str]
) -> Earlier:
    """What answers `asked` (settings and facts, see strata.asked): at `own`, the place of the
    task's scores, and in every study of the folder `studies`. layers: names of the dumps' files."""
    found = Earlier()
    for path in _files(studies, own):
        if not _answers(path, asked):
            continue
        scores = read_scores(path).with_layers(asked.get(LAYERS))
        new = scores.with_lenses(lens for lens in lenses if lens not in found.lenses)
        found.scores = found.scores or scores.with_lenses([])
        if new.logprob:
            found.files.append(path)
            found.scores.add_lenses(new)
        found.dumps = found.dumps or _dumps(path, asked, layers)
    return found


def _files(studies: str | Path | None, own: Path) -> list[Path]:
    """Files of scores, the task's own first."""
    folder, kinds = Path(studies or "none"), ("scores", "untrained")
    others = [path for kind in kinds for path in folder.glob(f"*/{kind}/*/*.h5")]
    return list(dict.fromkeys(path for path in [own, *sorted(others)] if path.is_file()))


def _dumps(scores: Path, asked: Made, layers: Sequence[str]) -> list[Path]:
    """The dumps that belong to a file of scores, if they are all there and of its extraction."""
    results, own = scores.parents[2], Path(scores.parent.name, scores.stem)
    for folder in (results / "activations" / own, results / "unfinished" / KEPT / own):
        paths = [folder / name for name in layers]
        numbers = asked.get(LAYERS) or range(len(paths))
        each = zip(numbers, paths, strict=False)
        if paths and all(_answers(path, asked | {"layer": layer}) for layer, path in each):
            return paths
    return []


def _answers(path: Path, asked: Made) -> bool:
    made = made_extraction(path)
    return made is not None and includes(made, asked)
