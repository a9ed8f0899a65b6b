"""What stands at the head of a GGUF file: metadata, and where its tensors are.

In plain Python: the workflow reads it while the Snakefile is parsed, and the reader of the package
gguf takes 11 s and 0.9 GB for the head of Gemma 3, whose vocabulary has 262,144 tokens, this one
0.3 s. A test holds the two equal. Format: ggml's docs/gguf.md, versions 2 and 3.
"""

import mmap
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from strata.errors import StrataError
from strata.files import located

MAGIC, VERSIONS = b"GGUF", (2, 3)
# Types of metadata, by number, as struct's: uint8, int8, uint16, int16, uint32, int32, float32,
# bool, [string, array,] uint64, int64, float64.
SCALARS = dict(zip((0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "BbHhIif?Qqd", strict=True))
STRING, ARRAY = 8, 9
PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")


@dataclass(frozen=True)
class Place:
    """Where a tensor is: its shape as torch has it, ggml's number of its type, its first byte."""

    file: Path
    shape: tuple[int, ...]
    type: int
    start: int


@dataclass(frozen=True)
class Header:
    """Of a GGUF file, or of all files that one was split into."""

    path: Path
    metadata: dict[str, Any]
    tensors: dict[str, Place]

    @property
    def architecture(self) -> str:
        return self.metadata["general.architecture"]


def is_gguf(path: str | Path) -> bool:
    """Whether a model is a GGUF file, by its name."""
    return str(path).endswith(".gguf")


def parts(path: str | Path) -> list[Path]:
    """The files that a GGUF model is in: itself, or all that it was split into, of which `path`
    is the first. Raises StrataError where one is missing."""
    path = Path(path)
    found = PART.search(path.name)
    if found and found[1] != "00001":
        raise StrataError(f"{path} is a part of a model that was split: give the first, 00001-of-")
    names = part_names(path.name)
    if missing := [name for name in names if not (path.parent / name).is_file()]:
        raise StrataError(
            f"{located(path.parent / missing[0])}: no such file; a model is a folder, a .gguf file "
            "(of one that was split, all parts in one folder) or a hub id (`hub:`)"
        )
    return [path.parent / name for name in names]


def part_names(name: str) -> list[str]:
    """All files that the one of this name was split into, itself if it wasn't."""
    found = PART.search(name)
    if not found:
        return [name]
    stem = name[: found.start()]
    return [f"{stem}-{i:05d}-of-{found[2]}.gguf" for i in range(1, int(found[2]) + 1)]


def read_header(path: str | Path) -> Header:
    """The head of a GGUF model. Raises StrataError if it is missing, damaged or of a version that
    is not read."""
    files = parts(path)
    return _read_header(tuple((file, file.stat().st_mtime_ns) for file in files))


@lru_cache(maxsize=4)
def _read_header(files: tuple[tuple[Path, int], ...]) -> Header:
    path = files[0][0]
    metadata: dict[str, Any] = {}
    tensors: dict[str, Place] = {}
    for file, _ in files:
        own, places = _read_file(file)
        metadata = own | metadata
        if twice := tensors.keys() & places:
            raise _damaged(file, f"{min(twice)} is in it twice")
        tensors |= places
    if metadata.get("split.count", 1) != len(files):
        raise StrataError(
            f"{path} is one of {metadata['split.count']} files; give them the names that they were "
            f"split under, as in {path.stem}-00001-of-{metadata['split.count']:05d}.gguf"
        )
    if not isinstance(metadata.get("general.architecture"), str):
        raise _damaged(path, "it does not say its architecture")
    return Header(path, metadata, tensors)


def _read_file(file: Path) -> tuple[dict[str, Any], dict[str, Place]]:
    try:
        with file.open("rb") as opened, _mapped(opened) as data:
            if data[:4] != MAGIC:
                raise StrataError(f"{file} is no GGUF file; fetch the model again")
            if (version := struct.unpack_from("<I", data, 4)[0]) not in VERSIONS:
                raise StrataError(
                    f"{file} is GGUF of version {version} (or of the other byte order); read are "
                    f"{' and '.join(map(str, VERSIONS))}: convert the model again with llama.cpp"
                )
            return _read(file, data)
    except (struct.error, ValueError, KeyError, OSError, OverflowError, MemoryError) as error:
        raise _damaged(file, str(error) or type(error).__name__) from None


def _mapped(file) -> mmap.mmap:
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _damaged(file: Path, reason: str) -> StrataError:
    return StrataError(f"{file} is damaged ({reason}); fetch the model again")


def _read(file: Path, data: mmap.mmap) -> tuple[dict[str, Any], dict[str, Place]]:
    reader = _Reader(data, 8)
    tensors, keys = reader.take("Q"), reader.take("Q")
    metadata = {}
    for _ in range(keys):
        key = reader.string()
        if key in metadata:
            raise ValueError(f"{key} is in it twice")
        metadata[key] = reader.value(reader.take("I"))
    found = dict(reader.tensors(tensors))
    if len(found) < tensors:
        raise ValueError("a tensor is in it twice")
    alignment = metadata.get("general.alignment", 32)
    start = -(-reader.at // alignment) * alignment
    return metadata, {
        name: Place(file, shape, kind, start + offset)
        for name, (shape, kind, offset) in found.items()
    }


class _Reader:
    """Goes through the head of a file."""

    def __init__(self, data: mmap.mmap, at: int) -> None:
        self.data, self.at = data, at

    def take(self, form: str) -> Any:
        (value,) = struct.unpack_from(f"<{form}", self.data, self.at)
        self.at += struct.calcsize(f"<{form}")
        return value

    def string(self) -> str:
        end = self.take("Q") + self.at
        if end > len(self.data):
            raise ValueError("it ends within a text")
        text = self.data[self.at : end].decode()
        self.at = end
        return text

    def value(self, kind: int) -> Any:
        if kind == STRING:
            return self.string()
        if kind != ARRAY:
            return self.take(SCALARS[kind])
        kind, count = self.take("I"), self.take("Q")
        if kind in SCALARS:
            form = f"<{count}{SCALARS[kind]}"
            values = struct.unpack_from(form, self.data, self.at)
            self.at += struct.calcsize(form)
            return list(values)
        return [self.value(kind) for _ in range(count)]

    def tensors(self, count: int) -> Iterator[tuple[str, tuple[tuple[int, ...], int, int]]]:
        for _ in range(count):
            name = self.string()
            shape = tuple(self.take("Q") for _ in range(self.take("I")))
            yield name, (shape[::-1], self.take("I"), self.take("Q"))
