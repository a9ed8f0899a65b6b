"""What a configuration may hold, and what is said where it holds something else."""

import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend

from strata import names
from strata.errors import StrataError, brief, nearest

# The enumerations that config/schema.yaml refers to as $defs.
ENUMERATIONS = {
    "lens": names.LENSES,
    "metric": names.METRICS,
    "probe": names.PROBES,
    "position": names.POSITIONS,
    "language": names.TRANSLATIONS,
    "kind": names.KINDS,
    "digits": names.DIGITS,
    "operation": names.OPERATIONS,
    "labeling": names.LABELINGS,
    "form": names.FORMS,
    "skip": names.SKIPS,
    "asked": names.ASKED,
    "leak": names.LEAKS,
    "overlong": names.OVERLONG,
    "dtype": names.DTYPES,
    "job": names.JOBS,
    "published_model": names.PUBLISHED_MODELS,
}

# Where YAML knows what JSON doesn't: 5.0 is no whole number, and numbers are finite.
_TYPES = Draft202012Validator.TYPE_CHECKER.redefine_many(
    {
        "integer": lambda _, value: type(value) is int,
        "number": lambda _, value: type(value) in (int, float) and math.isfinite(value),
    }
)


def _pattern(validator, pattern: str, instance: Any, schema: dict) -> Iterator[ValidationError]:
    """As JSON Schema has it: $ is the end, where Python's is before a newline at the end too."""
    if isinstance(instance, str) and not re.search(pattern.replace("$", r"\Z"), instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


_Validator = extend(Draft202012Validator, {"pattern": _pattern}, type_checker=_TYPES)


def read_schema(path: str | Path) -> dict:
    """config/schema.yaml with the vocabulary's enumerations in it."""
    schema = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    schema["$defs"] |= {name: {"enum": list(allowed)} for name, allowed in ENUMERATIONS.items()}
    return schema


def task_schema(groups: Iterable[str], schema: dict) -> dict:
    """The schema of a task's entry, put together from the groups of keys that its source takes."""
    properties = dict(schema["$defs"]["task"])
    for group in groups:
        properties |= schema["$defs"][group]
    return {"type": "object", "additionalProperties": False, "properties": properties}


def check(value: Any, part: dict, schema: dict, prefix: Sequence[str] = ()) -> None:
    """Raises StrataError for the first thing in `value`, which stands under the key `prefix`,
    that the schema `part` forbids."""
    validator = _Validator({**part, "$defs": schema["$defs"]})
    errors = sorted(validator.iter_errors(value), key=lambda error: list(map(str, error.path)))
    for error in errors:
        raise _explain(error, prefix)


def _explain(error, prefix: Sequence[str]) -> StrataError:
    where = _path([*prefix, *error.absolute_path])
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        allowed = error.schema.get("properties", {})
        key = next(key for key in error.instance if key not in allowed)
        head, _, rest = str(key).partition(".")
        if rest and head in allowed:
            return StrataError(
                f"config key {key} is unknown; a key below another is written "
                f"`{head}: {{{rest}: ...}}`"
            )
        return unknown(f"{where}.{key}" if where else key, key, allowed, "keys", noun="key")
    if error.validator == "enum":
        return unknown(where, error.instance, error.validator_value, "values")
    if error.validator == "required":
        missing = next(key for key in error.validator_value if key not in error.instance)
        return StrataError(f"config key {f'{where}.' if where else ''}{missing} is missing")
    if error.validator == "anyOf":
        wanted = "`path:` (a folder or .gguf file), or `hub:` or `package:`, and `layers:`"
        return StrataError(f"config key {where}: give {wanted}")
    if error.validator == "oneOf":
        return StrataError(f"config key {where}: give `name:` (name==version), or `parts:`")
    if error.validator == "type":
        kinds = error.validator_value
        wanted = " or ".join([kinds] if isinstance(kinds, str) else kinds)
        found = type(error.instance).__name__
        listed = found == "str" and kinds == "array"
        hint = f"; a list is written [{error.instance}]" if listed else ""
        return StrataError(
            f"config key {where}: expected {wanted}, found {found} {_show(error)}{hint}"
        )
    if error.validator == "pattern":
        return StrataError(
            f"config key {where}: found {_show(error)}, allowed is what matches "
            f"{error.validator_value}"
        )
    if error.validator in ("maxLength", "maximum"):
        most = f"{error.validator_value} characters" * (error.validator == "maxLength")
        return StrataError(
            f"config key {where}: found {_show(error)}, the most is {most or error.validator_value}"
        )
    return StrataError(f"config key {where}: {brief(error.message)}")


def _show(error) -> str:
    return brief(json.dumps(error.instance, ensure_ascii=False, default=str))


def _path(parts: Iterable) -> str:
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def unknown(
    where: str, found: Any, allowed: Iterable, what: str, noun: str = "name"
) -> StrataError:
    """An error for a name that is none of those allowed, with the nearest of them."""
    names = [str(name) for name in allowed]
    hint = nearest(str(found)[:200], names)
    listed = ", ".join(names) or "none"
    if noun == "key":
        return StrataError(
            f"config key {brief(str(where))} is unknown; allowed {what}: {listed}{hint}"
        )
    shown = brief(repr(found))
    return StrataError(f"config key {where}: found {shown}, allowed {what}: {listed}{hint}")
