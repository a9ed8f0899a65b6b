"""A study: its validated configuration, and what follows from it.

Imports neither torch nor pandas: it is read while the Snakefile is parsed.
"""

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from strata.asked import few_layers, looked_at
from strata.checkpoints import checkpoints
from strata.configfiles import check_places, check_values
from strata.environment import takes_card
from strata.errors import StrataError
from strata.files import located
from strata.models.checkpoint import read_config, read_info
from strata.models.gguf.header import is_gguf
from strata.names import BLIND
from strata.report.catalogue import FIGURES, TABLES
from strata.report.entry import FORMS, Entry
from strata.report.style import STYLE, check_style
from strata.schema import check, read_schema, task_schema, unknown
from strata.tasks.sources import SOURCES

# Folders beside the results: what was asked for, how it went, what is not finished; and what the
# explorer's page has no room for, which is made anew with it.
NO_RESULTS = ("asked", "benchmarks", "explorer", "logs", "unfinished")


class Study:
    """A validated configuration and what follows from it: selected models and tasks, in order.

    Raises StrataError with the full path of the key, what was found and what is allowed.
    """

    def __init__(self, config: dict, schema_path: str | Path) -> None:
        check_values(config)  # of the command line too
        schema = read_schema(schema_path)
        check(config, schema, schema)
        for name, task in config["tasks"].items():
            if task["source"] not in SOURCES:
                raise unknown(f"tasks.{name}.source", task["source"], SOURCES, "sources")
            groups = SOURCES[task["source"]].keys
            check(task, task_schema(groups, schema), schema, ["tasks", name])
        for kind in ("models", "tasks"):
            for index, name in enumerate(config["select"][kind]):
                if name not in config[kind]:
                    raise unknown(f"select.{kind}[{index}]", name, config[kind], kind)
        if config["report"]["lens"] not in config["lenses"]:
            raise unknown("report.lens", config["report"]["lens"], config["lenses"], "lenses")
        metric = config["report"]["metric"]
        if metric in BLIND and not config["question_blind"]:
            raise StrataError(
                f"config key report.metric: {metric} is of choices asked without the question; set "
                "`question_blind: true`"
            )
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
        check_places({"models": self.models, "tasks": self.tasks})
        self._check_bases()
        self._check_files()
        self._check_figures()

    @property
    def compared(self) -> list[str]:
        """The models that tables and figures set side by side: of a training run the last one."""
        last = {own["run"]: model for model, own in self.training.items()}
        return [
            name
            for name in self.models
            if name not in self.training or name == last[self.training[name]["run"]]
        ]

    @property
    def bases(self) -> dict[str, str]:
        """Of each model that is another at another precision, that other one."""
        return {name: own["base"] for name, own in self.models.items() if "base" in own}

    def _check_bases(self) -> None:
        for name, base in self.bases.items():
            key = f"config key models.{name}.base"
            alone = [model for model in self.models if model not in self.training]
            if name in self.training:
                raise StrataError(f"{key}: of a training run (`steps`) there is none; take it out")
            if base not in alone:
                raise unknown(key, base, alone, "selected models")
            if base in self.bases:
                found = "the model itself" if base == name else f"{base!r}, which has one too"
                raise StrataError(f"{key}: found {found}; name the one that all are compared with")
            if self.models[name].get("chat", False) != self.models[base].get("chat", False):
                raise StrataError(f"{key}: {base!r} is not asked alike; set the same `chat`")
            if self.layers[name] != self.layers[base]:
                raise StrataError(
                    f"{key}: {base!r} has {self.layers[base]} layers and {name!r} "
                    f"{self.layers[name]}; they are no two precisions of one model"
                )

    def _check_files(self) -> None:
        for name, task in self.tasks.items():
            source = self._source(name)
            if {"file", "lm_eval"} & set(source.keys) and not {"path", "hub"} & task.keys():
                raise StrataError(f"config key tasks.{name}.path: missing; name the file")
            try:
                own, _ = source.own(task), source.sets(task)
            except StrataError as error:
                raise StrataError(f"config key tasks.{name}: {error}") from None
            for path in own:
                if not Path(path).is_file():
                    key = next((key for key, value in task.items() if value == path), "path")
                    raise StrataError(
                        f"config key tasks.{name}.{key}: {located(path)}: no such file; paths go "
                        "by the folder of the study's file"
                    )

    def instances(self, entry: Entry) -> list[dict[str, str]]:
        """What a table or figure of the catalogue is made for here, one of each: the values of
        `entry.over`, by name. None if the study lacks what it shows."""
        if not self._makes(entry) or self.few(entry):
            return []
        found: list[dict[str, str]] = [{}]
        for part in entry.over:
            found = [
                {**one, part: value} for one in found for value in self._values(entry, part, one)
            ]
        return found

    def _makes(self, entry: Entry) -> bool:
        unfitted = entry.fitted and not self.probed
        missing = entry.probe and entry.probe not in self.config["probes"]["kinds"]
        left = entry.chosen and not self._chosen(entry)
        shown = self.models_of(entry) and self.tasks_of(entry)
        return bool(shown) and not (unfitted or missing or left)

    def _chosen(self, entry: Entry) -> bool:
        names = (name for name in self.config["figures"] if name.startswith(entry.name))
        return next(names, None) is not None

    def few(self, entry: Entry) -> str:
        """What the study has one of and an entry shows several of; empty if nothing."""
        there = {
            "models": self.models_of(entry),
            "tasks": self.tasks_of(entry),
            "lenses": self.config["lenses"],
        }
        return next((what for what in entry.several if len(there[what]) < 2), "")

    @property
    def undrawn(self) -> dict[str, str]:
        """The figures that the study would have if it had several of something, and of what."""
        made = {name: entry for name, entry in FIGURES.items() if self._makes(entry)}
        return {name: few for name, entry in made.items() if (few := self.few(entry))}

    def models_of(self, entry: Entry) -> list[str]:
        """The models whose results an entry shows."""
        return {
            "all": list(self.models),
            "compared": self.compared,
            "sizes": [name for name in self.compared if name not in self.bases],
            "precisions": [
                name for name in self.compared if name in {*self.bases, *self.bases.values()}
            ],
            "training": list(self.training),
            "published": list(self.published["models"]),
        }[entry.models]

    def tasks_of(self, entry: Entry) -> list[str]:
        """The tasks whose results an entry shows."""
        return {
            "all": list(self.tasks),
            "calculation": self.calculation,
            "in_languages": [name for name in self.tasks if self._source(name).in_languages],
            "in_parts": [n for n, task in self.tasks.items() if self._source(n).in_parts(task)],
            "in_variants": list(self.variants),
            "published": list(self.published["tasks"]),
        }[entry.tasks]

    def _values(self, entry: Entry, part: str, one: dict[str, str]) -> Iterable[str]:
        if part == "model":
            return self.models_of(entry)
        if part == "task":
            return self.tasks_of(entry)
        kinds, digits = self._source(one["task"]).cells
        own = {"kind": ("kinds", kinds), "digits": ("digits", digits)}[part]
        return self.tasks[one["task"]].get(*own)

    @property
    def abilities(self) -> dict[str, str]:
        """What of the paper's claims each task is of; empty for one that they don't name."""
        return {name: self._source(name).ability for name in self.tasks}

    @property
    def variants(self) -> dict[str, list[str]]:
        """With what each question is asked anew, of the tasks that have variants."""
        found = {name: list(self._source(name).variants(own)) for name, own in self.tasks.items()}
        return {name: kinds for name, kinds in found.items() if kinds}

    def _source(self, task: str):
        return SOURCES[self.tasks[task]["source"]]

    @property
    def calculation(self) -> list[str]:
        """The tasks that calculate."""
        return [name for name in self.tasks if self._source(name).cells]

    def named(self, entries: dict[str, Entry]) -> dict[str, str]:
        """Every table or figure that these entries make of the study, by name, and its entry's."""
        return {
            entry.stem(**one): name
            for name, entry in entries.items()
            for one in self.instances(entry)
        }

    @cached_property
    def tables(self) -> dict[str, str]:
        return self.named(TABLES)

    @cached_property
    def figures(self) -> dict[str, str]:
        return self.named(FIGURES)

    @property
    def published(self) -> dict[str, dict[str, str]]:
        """What of the study was published: its models with the paper's names, its tasks with
        their sources."""
        models = {name: self.models[name].get("published") for name in self.compared}
        tasks = {name: task["source"] for name, task in self.tasks.items()}
        return {
            "models": {name: paper for name, paper in models.items() if paper},
            "tasks": {name: source for name, source in tasks.items() if SOURCES[source].published},
        }

    @property
    def probed(self) -> bool:
        """Whether probes are fitted: they need activations."""
        return bool(self.config["probes"]["kinds"]) and self.config["activations"]

    def figure_style(self, kind: str, name: str) -> dict:
        """What the configuration says of a figure: for all, for its kind, for itself."""
        figures = self.config["figures"]
        return figures.get("style", {}) | figures.get(kind, {}) | figures.get(name, {})

    def _check_figures(self) -> None:
        for name, style in self.config["figures"].items():
            entry = self.figures.get(name, name)
            if entry != "style" and entry not in FIGURES:
                allowed = dict.fromkeys(["style", *FIGURES, *self.figures])
                raise unknown(f"figures.{name}", name, allowed, "keys", noun="key")
            own = FIGURES[entry].style if entry in FIGURES else {}
            check_style(style, {**STYLE, **own}, f"figures.{name}")

    @cached_property
    def absent(self) -> set[str]:
        """The models that are not on this machine, but were described where they were: what was
        scored of them is measured and shown."""
        return {
            name
            for name, own in self.models.items()
            if "path" in own
            and not Path(own["path"]).exists()
            and self._description(name).is_file()
        }

    def _description(self, model: str) -> Path:
        return Path(self.results, "models", f"{model}.json")

    @cached_property
    def layers(self) -> dict[str, int]:
        """Decoder layers of each selected model."""
        return {name: self._layers(name, model) for name, model in self.models.items()}

    def _layers(self, name: str, model: dict) -> int:
        if "path" not in model:
            return model["layers"]
        if name in self.absent:
            return read_info(self._description(name)).layers
        try:
            config = read_config(model["path"])
        except StrataError as error:
            raise StrataError(f"config key models.{name}.path: {error}") from None
        if not (is_gguf(model["path"]) or any(Path(model["path"]).glob("*.safetensors"))):
            raise StrataError(
                f"config key models.{name}.path: {model['path']} holds no .safetensors file, "
                "the form of weights that Strata reads of a folder"
            )
        own = config["num_hidden_layers"]
        said = model.get("layers", own)
        if (
            said != own and not {"hub", "package"} & model.keys()
        ):  # else it is what the path replaces
            raise StrataError(
                f"config key models.{name}.layers: found {said}, but {model['path']} has {own}; "
                "leave the key out where the model is in a folder"
            )
        return own

    @cached_property
    def looked_at(self) -> dict[str, list[int]]:
        """The layers of each selected model that are read out (`layers:`)."""
        chosen, deepest = self.config["layers"], max(self.layers.values())
        if isinstance(chosen, list) and max(chosen) > deepest:
            raise StrataError(
                f"config key layers: no selected model has a layer {max(chosen)}; the deepest has "
                f"0 (its embedding) to {deepest}"
            )
        return {model: looked_at(chosen, last) for model, last in self.layers.items()}

    def layer_names(self, model: str) -> list[str]:
        """The {layer} of each dump of a model, with leading zeros so that files sort."""
        digits = max(2, len(str(self.layers[model])))
        return [f"{layer:0{digits}d}" for layer in self.looked_at[model]]

    def in_one_job(self, model: str) -> bool:
        """Whether one job extracts all tasks of a model."""
        return self.models[model].get("job") == "model"

    def leftovers(self) -> list[Path]:
        """Files of results whose model, task, table or figure the study, as it is selected now,
        does not have: of an earlier form of it."""
        named = {"tasks": set(self.tasks), "tables": set(self.tables), "figures": set(self.figures)}
        found = []
        for file in sorted(Path(self.results).glob("*/**/[!.]*")):
            kind, own, *rest = map(_without_suffix, file.relative_to(self.results).parts)
            if kind in NO_RESULTS or not file.is_file():
                continue
            known = own in named.get(kind, self.models)
            if rest and rest[0] not in ("model", "weights"):
                known = known and rest[0] in self.tasks
            if known and kind == "activations":
                known = rest[-1].removeprefix("layer_") in self.layer_names(own)
            if not known:
                found.append(file)
        return found

    @property
    def untrained(self) -> list[str]:
        """The models of whose shape an untrained one is scored."""
        return [name for name in self.compared if self.models[name].get("untrained")]

    @property
    def gpus(self) -> int:
        """Cards an extraction takes: so that one runs at a time where there is one card."""
        return self.config["cards"] * takes_card(self.config["device"])

    @property
    def probe_plan(self) -> dict[str, Any]:
        """Of `probes` what their results depend on."""
        return {key: own for key, own in self.config["probes"].items() if key != "device"}

    def labels(self, models: Iterable[str] | None = None) -> dict[str, Any]:
        """Labels of the selected models (or of those named) and tasks, in order; and which layers
        are looked at, if not all."""
        chosen, layers = self.models if models is None else models, self.config["layers"]
        words = layers if isinstance(layers, str) else ", ".join(map(str, layers))
        few = any(map(few_layers, self.looked_at.values()))
        return {
            "models": {name: self.models[name].get("label", name) for name in chosen},
            "tasks": {name: task.get("label", name) for name, task in self.tasks.items()},
            **({"layers": f"layers looked at: {words}, the first and the last"} if few else {}),
        }


def _without_suffix(name: str) -> str:
    """Names of models and tasks may have points in them."""
    forms = (form for own in FORMS.values() for form in own)
    for suffix in (".audit.json", ".jsonl", ".json", ".h5", *(f".{form}" for form in forms)):
        if name.endswith(suffix):
            return name.removesuffix(suffix)
    return name


def _pick(entries: dict[str, dict], names: Iterable[str]) -> dict[str, dict]:
    return {name: entries[name] for name in names}
