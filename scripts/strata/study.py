"""A study's configuration, checked before any work.

Imports neither torch nor pandas: it is read while the Snakefile is parsed.
"""

import difflib
import json
import math
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.validators import extend

from strata.errors import StrataError
from strata.models.checkpoint import read_config
from strata.tasks import calculation

# Kinds and digits of the sources that calculate, where a task doesn't choose among them.
CALCULATION_SOURCES = {
    "calculation": (calculation.KINDS, calculation.DIGITS),
    "micro_calculation": (("int", "float"), ("1", "2")),
}
CROSS_LINGUAL_SOURCES = ("xmps_cal", "xmps_rea", "micro_xmps_cal", "micro_xmps_rea")
# The sources of data/published/metrics.csv.
PUBLISHED_SOURCES = ("mps_cal", "mps_rea", "xmps_cal", "xmps_rea", "reclor", "truthfulqa", "lama")

# Where YAML knows what JSON doesn't: 5.0 is no whole number, and numbers are finite.
_TYPES = Draft202012Validator.TYPE_CHECKER.redefine_many(
    {
        "integer": lambda _, value: type(value) is int,
        "number": lambda _, value: type(value) in (int, float) and math.isfinite(value),
    }
)
_Validator = extend(Draft202012Validator, type_checker=_TYPES)


class Study:
    """A validated configuration and what follows from it: selected models and tasks, in order.

    Raises StrataError with the full path of the key, what was found and what is allowed.
    """

    def __init__(self, config: dict, schema_path: str | Path) -> None:
        schema = yaml.safe_load(Path(schema_path).read_text(encoding="utf-8"))
        check(config, schema, schema)
        for name, task in config["tasks"].items():
            part = task_schema(task["source"], schema, f"tasks.{name}.source")
            check(task, part, schema, ["tasks", name])
        for kind in ("models", "tasks"):
            for index, name in enumerate(config["select"][kind]):
                if name not in config[kind]:
                    raise unknown(f"select.{kind}[{index}]", name, config[kind], kind)
        if config["report"]["lens"] not in config["lenses"]:
            raise unknown("report.lens", config["report"]["lens"], config["lenses"], "lenses")
        if config["probes"]["kinds"] and config["report"]["probe"] not in config["probes"]["kinds"]:
            allowed = config["probes"]["kinds"]
            raise unknown("report.probe", config["report"]["probe"], allowed, "probes.kinds")
        if sorted(config["probes"]["penalties"]) != config["probes"]["penalties"]:
            raise StrataError(
                "config key probes.penalties: list them from the least to the greatest"
            )
        if config["name"] == "published":
            raise StrataError(
                "config key name: 'published' is the folder of the paper's own numbers; choose "
                "another"
            )
        self.config = config
        self.name: str = config["name"]
        self.results = f"results/{self.name}"
        self.models: dict[str, dict] = {}
        self.training: dict[str, dict] = {}
        for name, entry in _pick(config["models"], config["select"]["models"]).items():
            made, training = checkpoints(name, entry)
            if twice := made.keys() & self.models:
                raise StrataError(
                    f"config key models.{name}: {min(twice)!r} is another model's name too; rename "
                    "one of them"
                )
            self.models |= made
            self.training |= training
        self.tasks: dict[str, dict] = _pick(config["tasks"], config["select"]["tasks"])
        self._check_jsonl()
        self._check_figures(schema)

    @property
    def compared(self) -> list[str]:
        """The models that tables and figures set side by side: of a training run the last one."""
        last = {own["run"]: model for model, own in self.training.items()}
        return [
            name
            for name in self.models
            if name not in self.training or name == last[self.training[name]["run"]]
        ]

    def _check_jsonl(self) -> None:
        for name, task in self.tasks.items():
            if task["source"] == "jsonl" and not Path(task.get("path", "")).is_file():
                found = repr(task["path"]) if "path" in task else "nothing"
                raise StrataError(f"config key tasks.{name}.path: no such file, found {found}")

    @cached_property
    def figures(self) -> dict[str, str]:
        """Every figure of the study by name, and its kind."""
        names = {"overall_radar": "overall_radar"}
        names |= {f"curves_{task}": "curves" for task in self.tasks}
        for task in self.tasks_from(*CALCULATION_SOURCES):
            options = self.tasks[task]
            kinds, spans = CALCULATION_SOURCES[options["source"]]
            kinds, spans = options.get("kinds", kinds), options.get("digits", spans)
            for kind, digits in product(kinds, spans):
                names[f"calculation_radars_{task}_{kind}_{digits}"] = "calculation_radars"
        for task in self.tasks_from(*CROSS_LINGUAL_SOURCES):
            names[f"cross_lingual_{task}"] = "cross_lingual"
        if self.training:
            names |= {f"training_{task}": "training" for task in self.tasks}
        if self.published["models"]:
            compared = self.published["tasks"]
            names |= {f"paper_comparison_{task}": "paper_comparison" for task in compared}
        if self.probed:
            names |= {f"probe_curves_{task}": "probe_curves" for task in self.tasks}
            if "ridge" in self.config["probes"]["kinds"]:
                calculated = self.tasks_from(*CALCULATION_SOURCES)
                names |= {f"readout_{task}": "readout" for task in calculated}
            names["emergence"] = "emergence"
            names |= {f"transfer_{model}": "transfer" for model in self.compared}
        return names

    @property
    def published(self) -> dict[str, dict[str, str]]:
        """What of the study was published: its models with the paper's names, its tasks with
        their sources."""
        models = {name: self.models[name].get("published") for name in self.compared}
        tasks = self.tasks_from(*PUBLISHED_SOURCES)
        return {
            "models": {name: paper for name, paper in models.items() if paper},
            "tasks": {name: self.tasks[name]["source"] for name in tasks},
        }

    @property
    def probed(self) -> bool:
        """Whether probes are fitted: they need activations."""
        return bool(self.config["probes"]["kinds"]) and self.config["activations"]

    def figure_style(self, kind: str, name: str) -> dict:
        """What the configuration says of a figure: for all, for its kind, for itself."""
        figures = self.config["figures"]
        return figures.get("style", {}) | figures.get(kind, {}) | figures.get(name, {})

    def _check_figures(self, schema: dict) -> None:
        styles = schema["$defs"]["styles"]
        for name, style in self.config["figures"].items():
            kind = self.figures.get(name, name)
            if kind != "style" and kind not in styles:
                allowed = ["style", *styles, *self.figures]
                raise unknown(f"figures.{name}", name, dict.fromkeys(allowed), "keys", noun="key")
            properties = schema["$defs"]["style"] | styles.get(kind, {})
            part = {"type": "object", "additionalProperties": False, "properties": properties}
            check(style, part, schema, ["figures", name])

    @cached_property
    def layers(self) -> dict[str, int]:
        """Decoder layers of each selected model."""
        return {name: self._layers(name, model) for name, model in self.models.items()}

    def _layers(self, name: str, model: dict) -> int:
        if "path" not in model:
            return model["layers"]
        try:
            config = read_config(model["path"])
        except StrataError as error:
            raise StrataError(f"config key models.{name}.path: {error}") from None
        if not any(Path(model["path"]).glob("*.safetensors")):
            raise StrataError(
                f"config key models.{name}.path: {model['path']} holds no .safetensors file, "
                "the only form of weights Strata reads"
            )
        return config["num_hidden_layers"]

    def layer_names(self, model: str) -> list[str]:
        """The {layer} of each dump of a model, 0 to L, with leading zeros so that files sort."""
        last = self.layers[model]
        return [f"{layer:0{max(2, len(str(last)))}d}" for layer in range(last + 1)]

    def in_one_job(self, model: str) -> bool:
        """Whether one job extracts all tasks of a model."""
        return self.models[model].get("job") == "model"

    @property
    def untrained(self) -> list[str]:
        """The models of whose shape an untrained one is scored."""
        return [name for name in self.compared if self.models[name].get("untrained")]

    @property
    def gpus(self) -> int:
        """Cards an extraction takes: so that one runs at a time where there is one card."""
        device = self.config["device"]
        return int(
            device.startswith("cuda") or (device == "auto" and Path("/dev/nvidia0").exists())
        )

    def labels(self, models: Iterable[str] | None = None) -> dict[str, dict[str, str]]:
        """Labels of the selected models (or of those named) and tasks, in order."""
        chosen = self.models if models is None else models
        return {
            "models": {name: self.models[name].get("label", name) for name in chosen},
            "tasks": {name: task.get("label", name) for name, task in self.tasks.items()},
        }

    def tasks_from(self, *sources: str) -> list[str]:
        return [name for name, task in self.tasks.items() if task["source"] in sources]


def _pick(entries: dict[str, dict], names: Iterable[str]) -> dict[str, dict]:
    return {name: entries[name] for name in names}


def checkpoints(name: str, entry: dict) -> tuple[dict[str, dict], dict[str, dict]]:
    """The models an entry stands for, by name: one, or a checkpoint for each of its `steps`; and
    of each checkpoint run, label of the run, and step."""
    if "steps" not in entry:
        return {name: entry}, {}
    shared, label = {**entry}, entry.get("label", name)
    steps = sorted(shared.pop("steps"))
    where = "path" if "path" in entry else "revision"
    if "{step}" not in entry.get(where, ""):
        raise StrataError(
            f"config key models.{name}.steps: say where the checkpoint of a step is, by {{step}} "
            f"in `{where}:`"
        )
    made, training = {}, {}
    for step in steps:
        place = entry[where].replace("{step}", str(step))
        model = f"{name}-step{step}"
        made[model] = {**shared, where: place, "label": f"{label}, step {step}"}
        training[model] = {"run": name, "label": label, "step": step}
    return made, training


def task_schema(source: Any, schema: dict, where: str) -> dict:
    """The schema of a task's entry, put together from the groups of keys its source takes."""
    sources = schema["$defs"]["sources"]
    if source not in sources:
        raise unknown(where, source, sources, "sources")
    properties = dict(schema["$defs"]["task"])
    for group in sources[source]:
        properties |= schema["$defs"][group]
    return {"type": "object", "additionalProperties": False, "properties": properties}


def check(value: Any, part: dict, schema: dict, prefix: Sequence[str] = ()) -> None:
    """Raises StrataError for the first thing in `value`, which stands under the key `prefix`,
    that the schema `part` forbids."""
    validator = _Validator({**part, "$defs": schema["$defs"]})
    errors = sorted(validator.iter_errors(value), key=lambda error: list(map(str, error.path)))
    for error in errors:
        raise _explain(error, prefix)


def _explain(error, prefix: Sequence[str]) -> StrataError:
    where = _path([*prefix, *error.absolute_path])
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        allowed = error.schema.get("properties", {})
        key = next(key for key in error.instance if key not in allowed)
        return unknown(f"{where}.{key}" if where else key, key, allowed, "keys", noun="key")
    if error.validator == "enum":
        return unknown(where, error.instance, error.validator_value, "values")
    if error.validator == "required":
        missing = next(key for key in error.validator_value if key not in error.instance)
        return StrataError(f"config key {f'{where}.' if where else ''}{missing} is missing")
    if error.validator == "anyOf":
        return StrataError(f"config key {where}: give `path:` (a folder), or `hub:` and `layers:`")
    if error.validator == "type":
        kinds = error.validator_value
        wanted = " or ".join([kinds] if isinstance(kinds, str) else kinds)
        found = type(error.instance).__name__
        return StrataError(f"config key {where}: expected {wanted}, found {found} {_show(error)}")
    if error.validator == "pattern":
        return StrataError(
            f"config key {where}: found {_show(error)}, allowed is what matches "
            f"{error.validator_value}"
        )
    return StrataError(f"config key {where}: {error.message}")


def _show(error) -> str:
    return json.dumps(error.instance, ensure_ascii=False, default=str)


def _path(parts: Iterable) -> str:
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def unknown(
    where: str, found: Any, allowed: Iterable, what: str, noun: str = "name"
) -> StrataError:
    """An error for a name that is none of those allowed, with the nearest of them."""
    names = [str(name) for name in allowed]
    near = difflib.get_close_matches(str(found), names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    listed = ", ".join(names) or "none"
    if noun == "key":
        return StrataError(f"config key {where} is unknown; allowed {what}: {listed}{hint}")
    return StrataError(f"config key {where}: found {found!r}, allowed {what}: {listed}{hint}")


def key_table(schema: dict) -> str:
    """Every key of the schema as a markdown table: key, what it takes, what it means."""
    defs = schema["$defs"]
    rows = list(_key_rows("", schema["properties"]))
    rows += _key_rows("models.NAME.", defs["model"]["properties"])
    rows += _key_rows("tasks.NAME.", defs["task"])
    for group in ("generated", "calculation", "languages", "jsonl"):
        rows += _key_rows("tasks.NAME.", defs[group])
    rows += _key_rows("figures.FIGURE.", defs["style"])
    for kind, properties in defs["styles"].items():
        rows += _key_rows(f"figures.{kind}.", properties)
    lines = [f"| `{key}` | {takes} | {meaning} |" for key, takes, meaning in rows]
    return "\n".join(["| key | takes | meaning |", "|---|---|---|", *lines]) + "\n"


def _key_rows(prefix: str, properties: dict):
    for key, part in properties.items():
        if "description" in part:
            yield prefix + key, _takes(part), part["description"].replace("|", "\\|")
        if part.get("type") == "object":
            yield from _key_rows(f"{prefix}{key}.", part.get("properties", {}))


def _takes(part: dict) -> str:
    if "enum" in part:
        return ", ".join(f"`{value}`" for value in part["enum"])
    kinds = part.get("type", "any")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds == ["array"] and "items" in part:
        return f"list of {_takes(part['items'])}"
    return " or ".join(kinds)
