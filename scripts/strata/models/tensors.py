"""The tensors of a checkpoint, by the names that transformers' modules have, whatever form its
files are in. Imports torch when a tensor is read, not before.
"""

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from strata.errors import StrataError
from strata.files import json_object
from strata.models.adapter import CONFIG, WEIGHTS, Adapted, adapter_file, read_adapter
from strata.models.gguf.header import is_gguf
from strata.models.gguf.tensors import Gguf
from strata.models.quantised import dequantised

if TYPE_CHECKING:
    import torch


class Tensors(Protocol):
    """What the files of a checkpoint hold. files: all that hold weights, sorted."""

    files: tuple[Path, ...]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor that can be read, by name, from the heads of the files alone. What a form
        cannot account for stays here under its own name, so that it is refused by it."""

    def dtype(self, name: str) -> str:
        """safetensors' name of the type that `read` gives: F32, BF16, F8_E4M3."""

    def where(self, name: str) -> Path:
        """The file that holds a tensor, or the first of those that do."""

    def read(self, name: str) -> "torch.Tensor":
        """One tensor, perhaps a view into its file. Raises StrataError if it is damaged."""


def open_tensors(folder: str | Path, adapter: str | Path | None = None) -> Tensors:
    """The tensors of a model folder or GGUF file, with those of the adapter in the folder `adapter`
    merged into them.

    Raises StrataError if there are none, a file is missing or its head is damaged, or weights are
    quantised in a way that is not read, or the adapter is not the model's.
    """
    folder = Path(folder)
    plain = Gguf(folder) if is_gguf(folder) else dequantised(Safetensors(shards(folder)), folder)
    if not adapter:
        if (folder / CONFIG).is_file():
            raise StrataError(
                f"{folder} holds an adapter ({CONFIG}), which would be left out: name it in the "
                f"model's entry, `adapter: {folder}`, or take it out of the folder"
            )
        return plain
    own = read_adapter(Path(adapter))
    return Adapted(plain, Safetensors([adapter_file(Path(adapter))]), own)


class Safetensors:
    """As the files have them."""

    def __init__(self, files: list[Path]) -> None:
        from safetensors import SafetensorError, safe_open

        self.files = tuple(sorted(files))
        self._places: dict[str, tuple[Path, str]] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        for file in self.files:
            try:
                with safe_open(file, framework="np") as handle:
                    for name in handle.keys():  # noqa: SIM118, no mapping
                        if name in self._places:
                            raise StrataError(
                                f"{file} holds {name}, and so does {self._places[name][0].name}: "
                                "which of the two is the model's is not said; take the file that "
                                "is not the model's out of the folder, or fetch the model again"
                            )
                        head = handle.get_slice(name)
                        self._places[name] = file, head.get_dtype()
                        self._shapes[name] = tuple(head.get_shape())
            except (SafetensorError, OSError) as error:
                raise StrataError(f"{file} is damaged ({error}); fetch the model again") from None

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return self._shapes

    def dtype(self, name: str) -> str:
        return self._places[name][1]

    def where(self, name: str) -> Path:
        return self._places[name][0]

    def read(self, name: str) -> "torch.Tensor":
        from safetensors import SafetensorError, safe_open

        from strata.models.memory import is_full

        try:
            with safe_open(self.where(name), framework="pt") as file:
                return file.get_tensor(name)
        except (SafetensorError, OSError, RuntimeError) as error:  # torch's: shorter than mapped
            if is_full(error):
                raise
            raise StrataError(
                f"{self.where(name)}: {name} cannot be read ({error}); fetch the model again"
            ) from None


def shards(folder: Path) -> list[Path]:
    """The files of weights, as transformers chooses them: the single file, else the index's, else
    all that are there. Links are followed, for a hub's cache is made of them."""
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        if index.is_file():
            logging.info("%s: %s is read, and %s left aside", folder, single.name, index.name)
        return [single]
    if not index.is_file():
        found = (file for file in folder.glob("*.safetensors") if file.is_file())
        if files := [file for file in found if file.name != WEIGHTS]:
            return sorted(files)
        raise StrataError(f"{folder} holds no .safetensors file, nor is it a .gguf file")
    try:
        names = set(map(os.fspath, json_object(index)["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise StrataError(f"{index} is damaged ({error}); fetch the model again") from None
    if outside := sorted(name for name in names if Path(name).name != name):
        raise StrataError(
            f"{index} names {outside[0]}, which is not in its folder itself, and only what is "
            "there is read as the model's; fetch the model again"
        )
    if missing := sorted(name for name in names if not (folder / name).is_file()):
        raise StrataError(f"{folder}: {index.name} names {missing[0]}, which is not there")
    return [folder / name for name in sorted(names)]
