"""The files of a study as frames: their columns, readers and what is refused."""

import io
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from strata.errors import StrataError
from strata.files import parse_object
from strata.integrity import verified
from strata.items import Item, read_items
from strata.models.checkpoint import ModelInfo, read_info

if TYPE_CHECKING:  # most tables and figures need no HDF5
    from strata.store import Decisions, Scores

# model and task first, then where, how and what was measured
COLUMNS = (
    *("model", "task", "subtask", "layer", "lens", "metric"),
    *("value", "n", "chance", "tie_rate", "stderr", "ci_low", "ci_high"),
)
PROBE_COLUMNS = (
    *("model", "task", "features", "layer", "target", "probe", "metric", "labels"),
    *("value", "n", "chance", "stderr", "ci_low", "ci_high", "p", "penalty", "note"),
)
TRANSFER_COLUMNS = (
    *("model", "which", "layer", "probe", "train", "test", "metric"),
    *("value", "n", "chance", "stderr", "ci_low", "ci_high"),
)
BEST_COLUMNS = (
    *("model", "task", "subtask", "lens", "metric", "layer", "layer_low", "layer_high"),
    *("value", "stderr", "ci_low", "ci_high"),
)
EMERGENCE_COLUMNS = (
    *("reader", "model", "task", "layer", "ci_low", "ci_high", "height", "above"),
    *("layers", "n"),
)
SETTLING_COLUMNS = (
    *("model", "task", "lens", "layer", "brier", "entropy", "divergence", "calibration"),
    *("agreement", "settled", "ci_low", "ci_high", "n"),
)
PRECISION_COLUMNS = (
    *("model", "base", "task", "lens", "metric", "layer"),
    *("difference", "stderr", "ci_low", "ci_high", "p", "p_holm"),
    *("flips", "flips_low", "flips_high", "divergence", "n"),
)
VARIANT_COLUMNS = (
    *("model", "task", "lens", "metric", "kind", "layer", "variant", "value", "ci_low", "ci_high"),
    *("chance", "apart", "apart_low", "apart_high", "p", "n"),
)
# The numbers of a row of metrics, as tables have them.
MEASURES = ["value", "ci_low", "ci_high", "stderr", "n", "chance", "tie_rate"]
# What the paper printed (data/published): half a unit of the last digit, and what is odd.
PUBLISHED_COLUMNS = (*COLUMNS, "rounding", "anomaly")
# Names stay text: a model may be called "7", a language "na".
NAMES = {
    *("model", "task", "subtask", "base", "lens", "metric", "train", "test", "note", "anomaly"),
    *("reader", "kind", "variant"),
}


def read_metrics(paths: Iterable[str | Path]) -> pd.DataFrame:
    """All rows of the metrics files, in one frame; of published ones with what is odd in them."""
    frame = _read(paths, COLUMNS, "metrics", ("anomaly",))
    return frame.fillna({"anomaly": ""}) if "anomaly" in frame else frame


def measures(frame: pd.DataFrame) -> list[str]:
    """The columns of the numbers of a row of metrics, as tables have them."""
    return [*MEASURES, *(["anomaly"] if "anomaly" in frame else [])]


def read_probes(paths: Iterable[str | Path]) -> pd.DataFrame:
    """All rows of the probes' files (probing.probe_table), in one frame."""
    return _read(paths, PROBE_COLUMNS, "probes").astype({"layer": "Int64"}).fillna({"note": ""})


def read_best(paths: Iterable[str | Path]) -> pd.DataFrame:
    """All rows of the best layers' files (best.best_table); none of no file."""
    none = pd.DataFrame(columns=BEST_COLUMNS)
    return _read(paths, BEST_COLUMNS, "best layers") if paths else none


def read_transfer(paths: Iterable[str | Path]) -> pd.DataFrame:
    """All rows of the transfer files (transfer.transfer_table), in one frame."""
    return _read(paths, TRANSFER_COLUMNS, "transfer results")


def read_emergence(paths: Iterable[str | Path]) -> pd.DataFrame:
    """All rows of the emergence table's csv (emergence.rises)."""
    return _read(paths, EMERGENCE_COLUMNS, "emergence")


def read_settling(paths: Iterable[str | Path]) -> pd.DataFrame:
    """All rows of the settling table's csv (settling.settling)."""
    return _read(paths, SETTLING_COLUMNS, "settling")


def read_precision(paths: Iterable[str | Path]) -> pd.DataFrame:
    """All rows of the precision table's csv (precision.precision)."""
    return _read(paths, PRECISION_COLUMNS, "precision")


def read_variants(paths: Iterable[str | Path]) -> pd.DataFrame:
    """All rows of the variants table's csv (variants.by_variant), without `always` and `ever`."""
    return _read(paths, VARIANT_COLUMNS, "variants")


def read_published(paths: Iterable[str | Path]) -> pd.DataFrame:
    """The paper's own numbers, as metrics with the columns rounding and anomaly."""
    return _read(paths, PUBLISHED_COLUMNS, "published numbers").fillna({"anomaly": ""})


def _read(
    paths: Iterable[str | Path],
    columns: tuple[str, ...],
    what: str,
    optional: tuple[str, ...] = (),
) -> pd.DataFrame:
    kinds = {column: str for column in (*columns, *optional) if column in NAMES}
    frames = []
    for path in paths:
        try:
            content = io.BytesIO(verified(path))
            frame = pd.read_csv(content, dtype=kinds, keep_default_na=False, na_values=[""])
        except (ValueError, OSError) as error:
            raise StrataError(f"{path}: cannot be read as {what} ({error})") from None
        missing = [column for column in columns if column not in frame]
        if missing:
            raise StrataError(f"{path}: not a {what} file, it lacks {', '.join(missing)}")
        kept = [*columns, *(column for column in optional if column in frame)]
        frames.append(frame[kept])
    if not frames:
        raise StrataError(f"no {what} file was given")
    return pd.concat(frames, ignore_index=True)


def read_scores(paths: Iterable[str | Path]) -> dict[tuple[str, str], "Scores"]:
    """Scores by (model, task)."""
    from strata import store

    return _by_pair(paths, store.read_scores)


def read_decisions(paths: Iterable[str | Path]) -> dict[tuple[str, str], "Decisions"]:
    """Decisions of probes by (model, task)."""
    from strata import store

    return _by_pair(paths, store.read_decisions)


def _by_pair(paths: Iterable[str | Path], read: Callable) -> dict[tuple[str, str], Any]:
    found: dict[tuple[str, str], Any] = {}
    for path in paths:
        own = read(path)
        model, task = own.attributes["model"], own.attributes["task"]
        if (model, task) in found:
            raise StrataError(
                f"{path} is of {model} on {task}, as another of the files that are read"
            )
        found[model, task] = own
    return found


def read_models(paths: Iterable[str | Path]) -> list[ModelInfo]:
    return list(map(read_info, paths))


def read_audits(paths: Iterable[str | Path]) -> list[dict]:
    """The audits of tasks (items.audit)."""
    audits = []
    for path in paths:
        try:
            audit = parse_object(verified(path))
            rows, leaks = list(map(dict, audit["rows"])), dict(audit.get("leaks", {}))
            audits.append({"task": audit["task"], "rows": rows, "leaks": leaks})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StrataError(f"{path}: not an audit ({error!r})") from None
    return audits


def read_tasks(paths: Iterable[str | Path]) -> dict[str, list[Item]]:
    """Items by task, for which their files are named."""
    return {Path(path).stem: read_items(path) for path in paths}


# By the name of the files, as the catalogue has it.
READERS = {
    "metrics": read_metrics,
    "best": read_best,
    "probes": read_probes,
    "transfer": read_transfer,
    "emergence": read_emergence,
    "settling": read_settling,
    "precision": read_precision,
    "variants": read_variants,
    "published": read_published,
    "scores": read_scores,
    "floors": read_scores,
    "decisions": read_decisions,
    "models": read_models,
    "audits": read_audits,
    "tasks": read_tasks,
}


def read_json(text: str, name: str) -> dict:
    """A JSON object, given as such or as the path of a file that holds one."""
    try:
        content = text if text.lstrip().startswith("{") else Path(text).read_text("utf-8")
        value = json.loads(content)
    except (OSError, ValueError) as error:
        raise StrataError(f"{name}: neither JSON nor a JSON file ({error})") from None
    if not isinstance(value, dict):
        raise StrataError(f"{name}: a JSON object is needed, not {type(value).__name__}")
    return value


def read_labels(text: str) -> dict[str, dict[str, str]]:
    """Labels of models and tasks; their order is the order of display."""
    labels = read_json(text, "labels")
    for part in ("models", "tasks"):
        if not isinstance(labels.get(part), dict):
            raise StrataError(f"labels: {part!r} must be a mapping of names to labels")
    return labels
