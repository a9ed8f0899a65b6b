import difflib
from collections.abc import Iterable


class StrataError(Exception):
    """A message to a user: names the file, key or item, says what is wrong and what to do."""


def known(name: str, names: Iterable[str], what: str) -> str:
    """`name`, which is one of `names`. Raises StrataError with all of them and the nearest."""
    names = list(names)
    if name in names:
        return name
    raise StrataError(f"{name!r} is none of the {what}: {', '.join(names)}{nearest(name, names)}")


def nearest(name: str, names: Iterable[str]) -> str:
    """A hint at the name that was meant, for the end of a message; empty if none is near."""
    found = difflib.get_close_matches(name, list(names), 1)
    return f"; did you mean {found[0]!r}?" if found else ""


def brief(text: str, room: int = 120) -> str:
    """A text for a message: of a long one its beginning and its length."""
    return text if len(text) <= room else f"{text[:room]}... ({len(text)} characters)"
