"""An untrained model of a given one's shape: what a curve shows without any knowledge.

The tensors of every weight file are drawn anew as the family's initialisation draws them, so a
model of any size takes the memory of one of its files. Imports torch, not transformers.
"""

import hashlib
import shutil
from pathlib import Path

from strata.models.checkpoint import read_config
from strata.models.families import FAMILIES
from strata.models.tensors import Tensors, open_tensors


def write_untrained(folder: str | Path, out: str | Path, seed: int = 0) -> None:
    """Writes to the folder `out` the configuration and tokenizer of a model folder, and weights of
    the same names, shapes and dtypes: matrices normal with the configuration's
    `initializer_range`, norms at one, biases at zero.

    Each tensor is drawn from `seed` and its name, so how a checkpoint is split changes nothing.
    Raises StrataError for a folder that is no model.
    """
    from safetensors.torch import save_file

    folder, out = Path(folder), Path(out)
    config = read_config(folder)
    tensors = open_tensors(folder)
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder.iterdir()):
        # Everything small beside the weights: configuration, index, tokenizer.
        if path.suffix in (".json", ".txt", ".model", ".jinja") and path.is_file():
            shutil.copyfile(path, out / path.name)
    for file in tensors.files:
        names = [name for name in tensors.shapes() if tensors.where(name) == file]
        drawn = {name: _draw(name, tensors, config, seed) for name in names}
        save_file({n: value for n, value in drawn.items() if value is not None}, out / file.name)


def _draw(name: str, tensors: Tensors, config: dict, seed: int):
    """One tensor, or none for what isn't a weight, such as the masks of old Pythia checkpoints."""
    import torch

    dtypes = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
    shape, dtype = tensors.shapes()[name], dtypes.get(tensors.dtype(name))
    if dtype is None or len(shape) not in (1, 2):
        return None
    if len(shape) == 1:
        norm = name.endswith("norm.weight")
        one = norm and not FAMILIES[config["model_type"]].shifted_norms
        return torch.full(shape, float(one), dtype=dtype)
    own = hashlib.sha256(f"{seed} {name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(own[:7], "big"))
    spread = config.get("initializer_range", 0.02)
    return (torch.randn(shape, generator=generator) * spread).to(dtype)
