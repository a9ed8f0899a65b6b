"""An untrained model of a given one's shape: what a curve shows without any knowledge.

The tensors of every weight file are drawn anew as the family's initialisation draws them, so a
model of any size takes the memory of one of its files. Imports torch, not transformers.
"""

import hashlib
import json
import shutil
from pathlib import Path

from strata.files import space_for
from strata.models.adapter import CONFIG as ADAPTER
from strata.models.checkpoint import TOKENIZER_FILES, folder_files, own_dtype, read_config
from strata.models.families import FAMILIES
from strata.models.gguf.header import is_gguf, read_header
from strata.models.gguf.tokenizer import write_tokenizer
from strata.models.quantised import unquantised
from strata.models.tensors import Tensors, open_tensors

DRAWN = ("router.bias", "sinks")  # vectors that are drawn as matrices are


def write_untrained(
    folder: str | Path,
    out: str | Path,
    seed: int = 0,
    tokenizer: str | Path | None = None,
    adapter: str | Path | None = None,
) -> None:
    """Writes to the folder `out` the configuration and tokenizer of a model (a folder or a GGUF
    file), and weights of the same names and shapes: matrices normal with the configuration's
    `initializer_range`, norms at one, biases at zero; of the same dtypes, or of the one that it is
    run in where they are in blocks. tokenizer: its folder, where that is another; adapter: the
    folder of the model's, which changes no shape.

    Each tensor is drawn from `seed` and its name, so how a checkpoint is split changes nothing.
    Raises StrataError for what is no model.
    """
    from safetensors.torch import save_file

    folder, out = Path(folder), Path(out)
    config = read_config(folder)
    tensors = open_tensors(folder, adapter)
    out.mkdir(parents=True, exist_ok=True)
    with space_for(out):
        _write_small(folder, out, config, Path(tokenizer) if tokenizer else None)
        for name, own in _files(folder, tensors).items():
            drawn = {name: _draw(name, tensors, config, seed) for name in own}
            save_file({n: value for n, value in drawn.items() if value is not None}, out / name)


def _write_small(folder: Path, out: Path, config: dict, tokenizer: Path | None) -> None:
    """Everything small beside the weights: configuration, index, tokenizer."""
    if is_gguf(folder):
        (out / "config.json").write_text(json.dumps(config), encoding="utf-8")
        if tokenizer is None:
            return write_tokenizer(read_header(folder), out)
        files = [file for file in folder_files(tokenizer) if file.name in TOKENIZER_FILES]
    else:
        files = sorted(file for file in folder.iterdir() if file.name != ADAPTER)
    for path in files:
        if path.suffix in (".json", ".txt", ".model", ".jinja") and path.is_file():
            shutil.copyfile(path, out / path.name)
    if (plain := unquantised(config)) != config:
        (out / "config.json").write_text(json.dumps(plain), encoding="utf-8")


def _files(folder: Path, tensors: Tensors) -> dict[str, list[str]]:
    """Which tensors go into which file: as they are, or of a GGUF, all in one, a layer a file."""
    found: dict[str, list[str]] = {}
    for name in tensors.shapes():
        layer = "-".join(name.split(".")[:3])
        own = f"{layer}.safetensors" if is_gguf(folder) else tensors.where(name).name
        found.setdefault(own, []).append(name)
    return found


def _draw(name: str, tensors: Tensors, config: dict, seed: int):
    """One tensor, or none for what isn't a weight, such as the masks of old Pythia checkpoints."""
    import torch

    dtypes = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
    shape, dtype = tensors.shapes()[name], dtypes.get(tensors.dtype(name))
    if is_gguf(tensors.where(name)):
        dtype = getattr(torch, own_dtype(config))
    if dtype is None or len(shape) not in (1, 2, 3):
        return None
    family, vector = FAMILIES[config["model_type"]], len(shape) == 1 or name.endswith("bias")
    norm = ("norm" in name or vector) and name.endswith(".weight")
    if norm or (vector and not name.endswith(DRAWN)):  # a norm of every head has a matrix
        one = norm and not family.shifted_norms
        return torch.full(shape, float(one), dtype=dtype)
    own = hashlib.sha256(f"{seed} {name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(own[:7], "big"))
    spread = config.get("initializer_range", config.get("init_std", 0.02))
    if family.residual and name.endswith(family.residual):
        spread /= (2 * config["num_hidden_layers"]) ** 0.5
    return (torch.randn(shape, generator=generator) * spread).to(dtype)
