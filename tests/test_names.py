"""One vocabulary: names of lenses, metrics, probes, languages, operations and positions stand in
strata/names.py, and nowhere else in the code."""

import ast
from itertools import product

import pytest
from workflow import ROOT

from strata import names

VOCABULARIES = {
    "lens": names.LENSES,
    "metric": names.METRICS,
    "probe": names.PROBES,
    "language": names.LANGUAGES,
    "operation": names.OPERATIONS,
    "position": names.POSITIONS,
}
SOURCES = [
    path
    for path in sorted((ROOT / "scripts").rglob("*.py"))
    if path != ROOT / "scripts" / "strata" / "names.py"
]
RULES = [ROOT / "Snakefile", *sorted((ROOT / "rules").glob("*.smk"))]


def spelled(source: str, vocabulary) -> list[tuple[int, str]]:
    """Lines of a Python source that spell a name out, as a text of its own."""
    texts = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant))
    return [(node.lineno, node.value) for node in texts if node.value in set(vocabulary)]


@pytest.mark.parametrize("kind", VOCABULARIES)
def test_no_other_module_or_script_spells_a_name(kind):
    found = {
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in SOURCES
        for line, name in spelled(path.read_text(encoding="utf-8"), VOCABULARIES[kind])
    }
    assert not found


def test_no_rule_spells_a_name():
    quoted = [f'"{name}"' for vocabulary in VOCABULARIES.values() for name in vocabulary]
    found = [
        (path.name, name)
        for path, name in product(RULES, quoted)
        if name in path.read_text(encoding="utf-8")
    ]
    assert not found


def test_a_name_that_is_spelled_is_seen():
    source = 'lens = "normed"\nLANGUAGES = {"es": 1}\n"""Docs may say normed."""\n'
    assert spelled(source, names.LENSES) == [(1, "normed")]
    assert spelled(source, names.LANGUAGES) == [(2, "es")]
