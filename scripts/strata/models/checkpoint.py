"""A model folder on disk: configuration, tokenizer and safetensors, checked before any work.

Imports neither torch nor transformers, so that it can be asked for cheap facts.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from strata.errors import StrataError
from strata.files import file_hash, json_object, located, parse_object, sha256
from strata.integrity import verified
from strata.models.adapter import CONFIG as ADAPTER
from strata.models.adapter import WEIGHTS as ADAPTER_WEIGHTS
from strata.models.adapter import read_adapter
from strata.models.families import FAMILIES, REFUSED
from strata.models.gguf.config import config_of
from strata.models.gguf.header import is_gguf, parts, read_header
from strata.models.gguf.tokenizer import tokenizer_facts
from strata.models.hub import fetch, of_hub
from strata.models.package import package_file, package_name, verify_package
from strata.models.quantised import scheme_of
from strata.models.tensors import open_tensors

TOKENIZER_FILES: tuple[str, ...] = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json")
TOKENIZER_FILES += ("vocab.json", "merges.txt", "vocab.txt", "chat_template.jinja")
# Of old: tokens by their roles, tokens added, a tokenizer.json for some versions of transformers.
TOKENIZER_FILES += ("special_tokens_map.json", "added_tokens.json", "tokenizer.*.json")
# Of several chat templates the one that is taken, where chat_template.jinja is not there.
TOKENIZER_FILES += ("additional_chat_templates/default.jinja",)


@dataclass(frozen=True)
class ModelInfo:
    """What is known of a model before its weights are read; hashes are sha256 in hex.

    folder: or the GGUF file; tokenizer: the folder of the tokenizer, where that is another;
    adapter: the folder of the adapter that is merged into it, adapter_of: the model that this says
    it is of; parameters: all its weights, 0 in a description of before they were counted; content:
    of what comes from a hub, whose revision is a commit, what a local one's revision would be.
    """

    name: str
    folder: str
    source: str
    revision: str
    architecture: str
    layers: int
    d_model: int
    vocabulary: int
    context: int
    tokenizer_hash: str
    asked: dict = field(default_factory=dict)  # see strata.asked
    tokenizer: str = ""
    adapter: str = ""
    adapter_of: str = ""
    parameters: int = 0
    content: str = ""

    def dict(self) -> dict:
        return asdict(self)


def read_config(folder: str | Path) -> dict:
    """config.json of a model folder, or what it would be for a GGUF file, checked for what Strata
    needs of it."""
    folder = Path(folder)
    if is_gguf(folder):
        config, path = config_of(read_header(folder)), folder
    else:
        config, path = _stated_config(folder), folder / "config.json"
    kind = config.get("model_type")
    if not isinstance(kind, str):
        raise StrataError(f"{path}: model_type is missing or no text; fetch the model again")
    if kind in REFUSED:
        raise StrataError(f"{path}: {kind} is not supported: {REFUSED[kind]} (docs/models.md)")
    if kind not in FAMILIES:
        raise StrataError(
            f"{path}: the architecture {kind!r} is not supported; Strata knows "
            + ", ".join(sorted(FAMILIES))
        )
    if config.get("transformers_weights"):
        raise StrataError(
            f"{path}: transformers_weights names {config['transformers_weights']} as the weights, "
            "which Strata would not read: give a folder with these as model.safetensors, and "
            "without the key"
        )
    scheme_of(config, path)
    for key in ("rope_parameters", "rope_scaling"):
        rope = config.get(key) or {}
        if not isinstance(rope, dict):
            raise StrataError(f"{path}: {key} is no object; fetch the model again")
        refuse_changing_rotary(rope, str(path))
    if config.get("use_bidirectional_attention") or config.get("is_causal") is False:
        raise StrataError(
            f"{path}: its tokens see those behind them (use_bidirectional_attention, is_causal): a "
            "model of embeddings, which predicts no next token; give a causal language model"
        )
    for key, own in FAMILIES[kind].keys.items():
        if own in config:
            config.setdefault(key, config[own])
    for key in ("num_hidden_layers", "hidden_size", "vocab_size"):
        if type(config.get(key)) is not int or config[key] < 1:
            raise StrataError(f"{path}: {key} is missing or no whole number from 1 on")
    return config


def _stated_config(folder: Path) -> dict:
    path = folder / "config.json"
    if not folder.is_dir():
        raise StrataError(
            f"{located(folder)}: no such folder; a model is a folder or a .gguf file, whose path "
            "goes by the folder of the study's file, or a hub id (`hub:`)"
        )
    if not path.is_file():
        found = sorted(folder.glob("*.gguf"))
        more = f"; for its GGUF file give `path: {found[0]}`" if found else ""
        if (folder / ADAPTER).is_file():
            more = f"; give its model, and `adapter: {folder}` beside it"
        raise StrataError(f"{folder} is no model folder: it holds no config.json{more}")
    try:
        return json_object(path)
    except ValueError as error:
        raise StrataError(
            f"{path} is no configuration in JSON ({error}); fetch the model again"
        ) from None


def refuse_changing_rotary(rope: dict, where: str) -> None:
    """Raises StrataError for rotary embeddings, of all layers or of one type, whose frequencies
    follow the length of a sequence."""
    by_type = [own for own in rope.values() if isinstance(own, dict)]
    kinds = {str(own.get(key)) for own in (rope, *by_type) for key in ("rope_type", "type")}
    for kind in sorted({"dynamic", "longrope"} & kinds):
        raise StrataError(
            f"{where}: its rotary embeddings ({kind}) change with the length of a sequence, so "
            "choices share no activations of their prompt; this is not supported"
        )


def own_dtype(config: dict) -> str:
    """The dtype that a checkpoint is run in if none is asked for: its own, but bfloat16 for a
    float16 one, which would overflow in LLaMA's down projection."""
    own = str(config.get("dtype") or config.get("torch_dtype") or "float32")
    own = own.removeprefix("torch.")
    return {"float16": "bfloat16", "float64": "float32"}.get(own, own)


def folder_files(folder: str | Path) -> list[Path]:
    """All files that say what a local model is: of its folder, or those of a GGUF."""
    if is_gguf(folder):
        return parts(folder)
    patterns = (
        "config.json",
        "adapter_config.json",
        *TOKENIZER_FILES,
        "*.safetensors",
        "*.safetensors.index.json",
    )
    found = {file for pattern in patterns for file in Path(folder).glob(pattern)}
    return sorted(file for file in found if file.is_file())


def own_files(options: dict) -> list[Path]:
    """The local files that a model of the configuration is made of."""
    found = folder_files(options["path"]) if "path" in options else []
    found += folder_files(own) if (own := other_tokenizer(options)) else []
    return found + (adapter_files(own) if (own := local_adapter(options)) else [])


def adapter_files(folder: str | Path) -> list[Path]:
    return [file for name in (ADAPTER, ADAPTER_WEIGHTS) if (file := Path(folder, name)).is_file()]


def local_adapter(options: dict) -> str | None:
    """The folder of an entry's adapter, where it is one."""
    own = options.get("adapter")
    return own if own and not of_hub(own) else None


def other_tokenizer(options: dict) -> str | None:
    """The local folder of the tokenizer that an entry gives in place of a GGUF's own."""
    own = options.get("tokenizer")
    return own if own and takes_tokenizer(options) and Path(own).is_dir() else None


def takes_tokenizer(options: dict) -> bool:
    """Whether an entry's `tokenizer` stands in place of a GGUF's own."""
    return is_gguf(place_of(options) or options.get("file", ""))


def content_of(options: dict) -> dict:
    """What identifies a model of the configuration: of local files their content, wherever they are
    and whatever their times; each is read once, and again where it was touched. Of a hub's, what
    its entry says of it."""
    content = {file.name: file_hash(file) for file in own_files(options)}
    said: tuple[str, ...] = () if local_adapter(options) else ("adapter", "adapter_revision")
    said += () if "path" in options else said_of(options)
    return content | {key: options[key] for key in said if key in options}


def said_of(options: dict) -> tuple[str, ...]:
    """The keys by which the entry of a model that is not local says which it is."""
    own = ("package",) if "package" in options else ("hub", "revision", "file")
    return (*own, "layers", "shape")


def place_of(options: dict) -> Path | None:
    """Where a model of the configuration is, or will be once its package is fetched; None for a
    hub's, whose cache says it."""
    if "path" in options:
        return Path(options["path"])
    return package_file(options["package"]) if "package" in options else None


def tokenizer_hash(folder: str | Path) -> str:
    """sha256 over the files that make the tokenizer, or over what a GGUF's metadata says of it; of
    a vocabulary alone over the type of model too, whose class it is that splits words."""
    if is_gguf(folder):
        facts = json.dumps(tokenizer_facts(read_header(folder)), sort_keys=True)
        return hashlib.sha256(facts.encode()).hexdigest()
    found = [file for name in TOKENIZER_FILES for file in sorted(Path(folder).glob(name))]
    if not any(file.name in ("tokenizer.json", "tokenizer.model", "vocab.json") for file in found):
        raise StrataError(f"{folder} holds no tokenizer (tokenizer.json or tokenizer.model)")
    own = _hash_files(found)
    if any(file.name in ("tokenizer.json", "tokenizer.model") for file in found):
        return own
    config = _stated_config(Path(folder)) if Path(folder, "config.json").is_file() else {}
    return sha256(f"{own} {config.get('model_type')}".encode())


def _hash_files(files: list[Path]) -> str:
    total = hashlib.sha256()
    for file in files:
        total.update(file.name.encode() + b"\0")
        total.update(bytes.fromhex(file_hash(file)))
    return total.hexdigest()


def describe(name: str, options: dict) -> ModelInfo:
    """Resolves and checks a model of the configuration: {path}, {package} or {hub, revision, file}.

    A hub model's revision is the commit that `revision` (a branch, tag or commit) stands for now,
    any other's 'sha256:' and the hash of its configuration and weights (of a GGUF file, its own
    hash).
    """
    folder, source, revision = place_of(options), "local", None
    if folder and "path" not in options:
        verify_package(folder)
        source = package_name(options["package"])
    if folder is None:
        folder, revision = fetch(options["hub"], options.get("revision"), file=options.get("file"))
        source = options["hub"]
    tokenizer = tokenizer_of(options, folder)
    config = read_config(folder)
    adapter = _adapter_of(options)
    files = open_tensors(folder, adapter["folder"]).files
    content = local_revision(folder, files)
    revision = revision or content
    if adapter["folder"]:
        content += f" + {_adapter_hash(adapter['folder'])}"
    info = ModelInfo(
        name=name,
        folder=str(folder),
        source=source,
        revision=revision + adapter["revision"],
        architecture=config["model_type"],
        layers=config["num_hidden_layers"],
        d_model=config["hidden_size"],
        vocabulary=config["vocab_size"],
        context=config.get("max_position_embeddings", 0),
        tokenizer_hash=tokenizer_hash(tokenizer),
        tokenizer="" if tokenizer == folder else str(tokenizer),
        adapter=adapter["folder"],
        adapter_of=adapter["of"],
        content="" if content == revision + adapter["revision"] else content,
    )
    declared = {"num_hidden_layers": options.get("layers"), **options.get("shape", {})}
    for key, value in declared.items():
        if value is not None and config.get(key, value) != value:
            where = "layers" if key == "num_hidden_layers" else f"shape.{key}"
            raise StrataError(
                f"models.{name}.{where} says {value}, but the model has {config[key]}; correct it"
            )
    return info


def _adapter_of(options: dict) -> dict[str, str]:
    """Of an entry's adapter its folder, what it adds to the model's revision, and the model that it
    says it is of; all empty where there is none."""
    own = options.get("adapter")
    if not own:
        return dict.fromkeys(("folder", "revision", "of"), "")
    if of_hub(own):
        folder, commit = fetch(own, options.get("adapter_revision"))
    else:
        folder, commit = Path(own), ""
    of = str(read_adapter(folder).get("base_model_name_or_path") or "")
    return {"folder": str(folder), "revision": f" + {commit or _adapter_hash(folder)}", "of": of}


def _adapter_hash(folder: str | Path) -> str:
    return "sha256:" + _hash_files(adapter_files(folder))


def local_revision(folder: Path, files: Sequence[Path]) -> str:
    """What names the content of a local model: the hash of its configuration and weights."""
    if is_gguf(folder):
        return "sha256:" + (file_hash(files[0]) if len(files) == 1 else _hash_files([*files]))
    return "sha256:" + _hash_files([folder / "config.json", *files])


def verify(info: ModelInfo) -> None:
    """Raises StrataError if a folder or file holds another model or adapter than the one described:
    exchanged under its path, it would go by the other's revision."""
    folder = Path(info.folder)
    # A hub's, described by an earlier Strata, goes by its commit.
    whole, _, adapter = (info.content or info.revision).partition(" + ")
    good = not adapter.startswith("sha256:") or _adapter_hash(info.adapter) == adapter
    if whole.startswith("sha256:"):
        files = open_tensors(folder, info.adapter).files
        now = local_revision(folder, files), tokenizer_hash(info.tokenizer or folder)
        good = good and now == (whole, info.tokenizer_hash)
    if not good:
        raise StrataError(
            f"{folder} holds another model than when {info.name} was described: its weights, "
            "configuration, tokenizer or adapter were exchanged. Run again, with the model left as "
            "it is"
        )


def tokenizer_of(options: dict, model: Path) -> Path:
    """Where the tokenizer of a model is that was found: in its folder or GGUF file, or for a GGUF
    where the entry says, a folder or hub id."""
    own = options.get("tokenizer") if is_gguf(model) else None
    return _tokenizer_folder(own) if own else model


def _tokenizer_folder(where: str) -> Path:
    return fetch(where, weights=False)[0] if of_hub(where) else Path(where)


def outline(options: dict) -> tuple[dict, Path]:
    """Shape (as config.json has it) and tokenizer folder of a model of the configuration, without
    its weights: from `shape` and `tokenizer` where it has them, so that nothing is fetched."""
    shape, own = options.get("shape"), options.get("tokenizer")
    tokenizer = _tokenizer_folder(own) if own else None
    if not (shape and tokenizer):
        folder = place_of(options)
        if folder is None:
            named = options["hub"], options.get("revision")
            folder, _ = fetch(*named, weights=False, file=options.get("file"))
        shape, tokenizer = shape or read_config(folder), tokenizer or Path(folder)
    return shape, tokenizer


def read_info(
    path: str | Path,
    folder: str | None = None,
    tokenizer: str | None = None,
    adapter: str | None = None,
) -> ModelInfo:
    """What `describe` found; folder, tokenizer, adapter: where they are now, if not there."""
    try:
        info = ModelInfo(**parse_object(verified(path)))
    except (ValueError, TypeError) as error:
        raise StrataError(
            f"{path} is no description of a model ({error}); delete it and run again"
        ) from None
    return replace(
        info,
        folder=folder or info.folder,
        tokenizer=tokenizer or info.tokenizer,
        adapter=adapter or info.adapter,
    )
