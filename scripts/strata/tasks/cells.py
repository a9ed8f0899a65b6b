"""What a single cell of a file holds: a fraction as it is spelled, a list or an object in a text.
Standard library only.
"""

import ast
import io
import json
import re
import tokenize

NUMPY = re.compile(r"\barray\((\[.*?\])(?:, dtype=\w+)?\)", re.DOTALL)


class Written(float):
    """A fraction, and how the file spells it, of many ways there are."""

    text: str

    def __new__(cls, text: str) -> "Written":
        made = super().__new__(cls, text)
        made.text = text
        return made

    def __str__(self) -> str:
        return self.text


def held(value: object) -> list | dict | None:
    """A list, tuple or object that a cell holds: as JSON, or as Python, numpy or pandas write one;
    None where it holds none."""
    if not isinstance(value, str) or value.strip()[:1] not in ("[", "{", "("):
        return None
    for read in (json.loads, _literal, lambda own: _literal(NUMPY.sub(r"\1", own))):
        try:
            found = read(value)
        except (ValueError, SyntaxError, RecursionError, MemoryError, tokenize.TokenError):
            continue
        found = list(found) if isinstance(found, tuple) else found
        return found if isinstance(found, list | dict) else None
    return None


def _literal(text: str) -> object:
    """What Python writes; texts side by side, as numpy has them in a list, are several."""
    parts: list[str] = []
    before = None
    for token in tokenize.generate_tokens(io.StringIO(text.strip()).readline):
        parts += [","] * (token.type == before == tokenize.STRING) + [token.string]
        before = token.type if token.type != tokenize.NL else before
    return ast.literal_eval(" ".join(parts).strip())
