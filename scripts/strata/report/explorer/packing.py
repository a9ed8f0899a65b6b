"""What the page holds, as text that no browser takes for markup: compressed, then base64."""

import base64
import gzip
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

# Groups of parts, first those that most views need: what no longer fits lies beside the page.
TABLES, FIGURES, ITEMS, PRINTS = GROUPS = ("tables", "figures", "items", "prints")
KINDS = {"u1": "Uint8Array", "u2": "Uint16Array", "u4": "Uint32Array", "f4": "Float32Array"}


@dataclass(frozen=True)
class Part:
    """A file of the study by its path in the results, or what stands for one that no browser
    reads (arrays)."""

    name: str
    group: str
    content: bytes

    @property
    def text(self) -> str:
        # Without the time, so that the same study makes the same page.
        return base64.b64encode(gzip.compress(self.content, 9, mtime=0)).decode("ascii")


def arrays(head: dict, named: Mapping[str, np.ndarray]) -> bytes:
    """Arrays as one: the length of a JSON text (4 bytes), the text (`head`, and under "arrays" the
    name, JavaScript's type, shape and place of each), then the arrays, each at a multiple of 8
    from the end of the text. Little-endian; integers in the least type that holds them."""
    placed, blocks, at = [], [], 0
    for name, values in named.items():
        values = _least(values)
        block = values.tobytes()
        kind = KINDS[values.dtype.str[1:]]
        placed.append({"name": name, "type": kind, "shape": values.shape, "at": at})
        block += bytes(-len(block) % 8)
        blocks.append(block)
        at += len(block)
    text = json.dumps({**head, "arrays": placed}, ensure_ascii=False).encode()
    text += b" " * (-(len(text) + 4) % 8)
    return b"".join([len(text).to_bytes(4, "little"), text, *blocks])


def _least(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind == "f":
        return np.ascontiguousarray(values, "<f4")
    largest = int(values.max(initial=0))
    kind = next(kind for kind in ("<u1", "<u2", "<u4") if largest <= np.iinfo(kind).max)
    return np.ascontiguousarray(values, kind)


def placed(parts: Iterable[Part], room: int) -> tuple[dict[str, str], dict[str, str]]:
    """The texts of parts by name: those in the page, and those beside it. A group is in the page as
    a whole, if with those before it it takes no more than `room` bytes; tables always are."""
    inside: dict[str, str] = {}
    beside: dict[str, str] = {}
    parts = list(parts)
    for group in GROUPS:
        texts = {part.name: part.text for part in parts if part.group == group}
        size = sum(map(len, texts.values()))
        fits = group == TABLES or size <= room
        (inside if fits else beside).update(texts)
        room -= size if fits else 0
    return inside, beside
