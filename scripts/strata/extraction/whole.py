"""transformers' own whole model, by its own loading: what Strata is checked by."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from safetensors.torch import save_file

from strata.errors import StrataError
from strata.models.adapter import Adapted
from strata.models.checkpoint import read_config
from strata.models.gguf.header import is_gguf, read_header
from strata.models.memory import is_full
from strata.models.model import Model
from strata.models.quantised import Quantised, unquantised
from strata.models.tensors import Tensors

# Whose reading of quantised tensors is compared.
THEIRS, STRATA = "transformers", "Strata"


def load(model: Model):
    """transformers' own model of the folder or file, as many of its layers, with the plainest
    attention, which leaves out nothing that a configuration asks for."""
    from transformers import AutoModelForCausalLM

    local = {"trust_remote_code": False, "local_files_only": True}
    try:
        with _source(model) as (place, named):
            loaded = AutoModelForCausalLM.from_pretrained(
                place,
                config=_config(model, place),
                dtype=model.dtype,
                attn_implementation="eager",
                experts_implementation="eager",
                output_loading_info=True,
                **named,
                **local,
            )
    except Exception as error:  # whatever the library raises
        if is_full(error):
            raise
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise _no_twin(model, reason[0]) from None
    lm, found = cast(tuple[Any, dict], loaded)
    if missing := sorted(found["missing_keys"]):
        raise _no_twin(model, f"it misses {missing[0]}")
    lm = _merged(lm, model)
    # Beside those that it dequantises, transformers leaves weights in the type of the files.
    for weight in lm.parameters():
        weight.data = weight.data.to(model.dtype)
    return lm.eval().to(model.device)


def _merged(lm, model: Model):
    """With the adapter in it, by peft, unless transformers was given weights with it."""
    if not (model.adapter and _peft()):
        return lm
    from peft import PeftModel

    return PeftModel.from_pretrained(lm, model.adapter).merge_and_unload()


def _peft() -> bool:
    return find_spec("peft") is not None


def _base(model: Model) -> Tensors:
    """What transformers is to load: experts as the files have them, and without the adapter where
    peft merges that."""
    tensors = model.tensors.base
    return tensors.base if isinstance(tensors, Adapted) and _peft() else tensors


def _no_twin(model: Model, reason: str) -> StrataError:
    return StrataError(
        f"{model.folder}: transformers itself cannot load it ({reason}), so there is nothing to "
        "check Strata's numbers by; mend the folder, or set `self_check: false`"
    )


def _config(model: Model, place: Path):
    """The configuration as transformers reads it, of as many layers; of a GGUF's metadata, which it
    doesn't read whole, as Strata does."""
    from transformers import AutoConfig

    if is_gguf(model.folder):
        config = AutoConfig.for_model(**read_config(model.folder))
    else:
        config = AutoConfig.from_pretrained(place, trust_remote_code=False, local_files_only=True)
    for key, value in config.to_dict().items():
        if isinstance(value, list) and len(value) == config.num_hidden_layers:
            setattr(config, key, value[: model.n_layers])
    config.num_hidden_layers = model.n_layers
    return config


def dequantised_by(model: Model) -> str:
    """Whose reading of quantised tensors, or without peft of merged ones, is compared; empty where
    there are none. transformers', where it dequantises them on its own on a CPU: of a GGUF all of
    them at once, where it knows the architecture, and all are wanted and in one file."""
    tensors = _base(model)
    if isinstance(tensors, Adapted):
        return STRATA
    if isinstance(tensors, Quantised):
        return THEIRS if tensors.theirs else STRATA
    if not is_gguf(model.folder):
        return ""
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

    whole = model.n_layers == len(model.skeleton.layers) and len(model.tensors.files) == 1
    known = read_header(model.folder).architecture in GGUF_SUPPORTED_ARCHITECTURES
    return THEIRS if whole and known else STRATA


@contextmanager
def _source(model: Model) -> Iterator[tuple[Path, dict]]:
    """A folder that transformers loads the model from, and how: its own, or one of links and an
    index, where its weights have names that transformers does not look for; of a GGUF file, by its
    name; or where transformers doesn't dequantise it, what Strata read of it."""
    usual = "model.safetensors", "model.safetensors.index.json"
    by = dequantised_by(model)
    if is_gguf(model.folder) and by == THEIRS:
        yield model.folder.parent, {"gguf_file": model.folder.name}
    elif by != STRATA and any((model.folder / name).is_file() for name in usual):
        yield model.folder, _options(model)
    else:
        with TemporaryDirectory() as made:
            _as_usual(model, Path(made))
            yield Path(made), _options(model)


def _options(model: Model) -> dict:
    """By which transformers loads as floats what it can dequantise."""
    tensors = _base(model)
    if not (isinstance(tensors, Quantised) and tensors.theirs):
        return {}
    options = getattr(import_module("transformers"), tensors.theirs)
    return {"quantization_config": options(dequantize=True)}


def _as_usual(model: Model, made: Path) -> None:
    """Writes a folder with the model's weights as transformers looks for them."""
    tensors = _base(model)
    if dequantised_by(model) == STRATA:
        layers = tuple(f".layers.{i}." for i in range(model.n_layers, len(model.skeleton.layers)))
        own = [name for name in tensors.shapes() if not any(map(name.__contains__, layers))]
        read = {name: tensors.read(name).to(model.dtype).contiguous() for name in own}
        save_file(read, made / "model.safetensors", metadata={"format": "pt"})
        config = json.dumps(unquantised(read_config(model.folder)))
        (made / "config.json").write_text(config, encoding="utf-8")
        return
    for file in (model.folder / "config.json", *tensors.files):
        (made / file.name).symlink_to(file.resolve())
    # It asks the index for its files alone.
    index = {"metadata": {}, "weight_map": {file.name: file.name for file in tensors.files}}
    (made / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
