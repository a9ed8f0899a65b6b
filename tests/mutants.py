"""Would the tests notice? Small faults, a seeded sample of them, put into the modules that numbers
rest on, one at a time, and the tests that pin the module run on each:

    python -m pip install --no-deps mutmut==3.3.1 libcst==1.7.0
    python tests/mutants.py [MODULE ...] [--count 60] [--out build/mutants]

The faults are mutmut's (its mutation operators): another operator, number, comparison, keyword or
text, a named argument left out. Not those that end in a traceback wherever they are (a value or an
argument that is None, an argument without a name left out): they would be two thirds of all, and
make the share noticed look better than it is. Nor what is in a `raise` (wording), in annotations
and in decorators, and no `strict` of a zip, which asserts what no input breaks.

Mutmut's own runner passes over whatever is decorated, properties and the methods of dataclasses, so
the running is done here: a process is forked for each fault, with the libraries imported, and gets
the module with the fault in it. It runs the tests that enter the function, the quickest first; a
fault is noticed if one fails or takes far longer than it should.

What is found is kept in the folder, so that a run goes on where another ended (--seconds), and
--again tries what was not noticed once more, after tests have been written.
"""

import argparse
import ast
import gc
import importlib
import importlib.abc
import importlib.util
import json
import os
import random
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from difflib import unified_diff
from pathlib import Path

import hypothesis
import libcst
import pytest
from libcst.metadata import MetadataWrapper, PositionProvider
from mutmut.file_mutation import MutationVisitor, OuterFunctionProvider, deep_replace
from mutmut.node_mutation import (
    mutation_operators,
    operator_arg_removal,
    operator_assignment,
)

ROOT = Path(__file__).resolve().parents[1]
LIBRARIES = (
    *("numpy", "pandas", "scipy.stats", "scipy.optimize", "h5py", "torch", "sklearn.metrics"),
    *("sklearn.linear_model", "transformers.models.auto.modeling_auto", "threadpoolctl", "jinja2"),
)
LEAST = "test_a_test_finds_the_least_difference_it_says_four_times_in_five"
TRACEBACKS = operator_arg_removal, operator_assignment
# Of each module the tests that pin it, as pytest is asked for them.
PINNED = {
    "measures.metrics": ["tests/test_metrics.py"],
    "measures.statistics": [
        "tests/test_statistics.py",
        "tests/test_leads.py",
        f"tests/test_findings.py::{LEAST}",
    ],
    "measures.bootstrap": ["tests/test_statistics.py"],
    "measures.folds": ["tests/test_probes.py"],
    "measures.probes": ["tests/test_probes.py", "tests/test_conditional.py"],
    "measures.conditional": ["tests/test_conditional.py"],
    "measures.nulls": ["tests/test_nulls.py"],
    "measures.probing": ["tests/test_probing.py", "-k", "not transfer and not tasks"],
    "models.lens": ["tests/test_lens.py"],
    "extraction.tree": ["tests/test_tree.py"],
}


def names_left_out(node: libcst.Call) -> Iterator[libcst.Call]:
    for number, own in enumerate(node.args):
        if own.keyword:
            yield node.with_changes(args=[*node.args[:number], *node.args[number + 1 :]])


OPERATORS = [
    *((kind, own) for kind, own in mutation_operators if own not in TRACEBACKS),
    (libcst.Call, names_left_out),
]


class Mutations(MutationVisitor):
    """Mutmut's of a whole module, with their lines and those of the functions they are in."""

    def __init__(self) -> None:
        super().__init__(OPERATORS, set())
        self.found: list[tuple] = []

    def _skip_node_and_children(self, node) -> bool:
        if isinstance(node, libcst.Raise | libcst.Decorator):
            return True
        if isinstance(node, libcst.FunctionDef | libcst.ClassDef):
            node = node.with_changes(decorators=[])
        return super()._skip_node_and_children(node)

    def _create_mutations(self, node) -> None:
        super()._create_mutations(node)
        around = self.get_metadata(OuterFunctionProvider, node, None)
        where = self.get_metadata(PositionProvider, node, None)
        span = self._lines(around) if isinstance(around, libcst.FunctionDef) else None
        for own in self.mutations:
            self.found.append((own, where.start.line if where else 0, span))
        self.mutations.clear()

    def _lines(self, function: libcst.FunctionDef) -> tuple[int, int]:
        """First and last, decorators with it, as a code object counts them."""
        parts = *function.decorators, function
        lines = [self.get_metadata(PositionProvider, part) for part in parts]
        return lines[0].start.line, lines[-1].end.line


def mutants(module: str, count: int) -> list[dict]:
    """A sample of the mutants of a module, each with its text, line and function's lines."""
    text = path_of(module).read_text()
    tree = MetadataWrapper(libcst.parse_module(text), unsafe_skip_copy=True)
    visitor = Mutations()
    tree.visit(visitor)
    random.Random(module).shuffle(visitor.found)
    sample: list[dict] = []
    known = {meaning(text)}
    for own, line, span in visitor.found:
        changed = deep_replace(tree.module, own.original_node, own.mutated_node).code
        with suppress(SyntaxError):
            if (what := meaning(changed)) not in known:
                known.add(what)
                sample.append({"text": changed, "line": line, "span": span})
        if len(sample) == count:
            break
    for own in sample:
        lines = unified_diff(text.splitlines(), own["text"].splitlines(), lineterm="", n=0)
        own["change"] = [part for part in lines if part[:2] not in ("--", "++", "@@")]
    return sample


def meaning(text: str) -> str:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            node.keywords = [own for own in node.keywords if own.arg != "strict"]
    return ast.dump(tree)


def path_of(module: str) -> Path:
    return ROOT / "scripts/strata" / (module.replace(".", "/") + ".py")


class Instead(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Gives one module another text."""

    def __init__(self, name: str, text: str) -> None:
        self.name, self.text = name, text

    def find_spec(self, fullname, path, target=None):
        return importlib.util.spec_from_loader(fullname, self) if fullname == self.name else None

    def get_source(self, fullname: str) -> str:
        return self.text


class Watch:
    """Which functions of a module, by their first lines, each test enters, itself or by a fixture
    that it shares; and its seconds of processor time."""

    def __init__(self, path: Path) -> None:
        self.path, self.tests, self.fixtures = str(path), {}, {}
        self.now: set[int] = set()

    def _enter(self, frame, event, _) -> None:
        if event == "call" and frame.f_code.co_filename == self.path:
            self.now.add(frame.f_code.co_firstlineno)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef):
        before, self.now = self.now, set()
        try:
            return (yield)
        finally:
            self.fixtures.setdefault(fixturedef.argname, set()).update(self.now)
            self.now |= before

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        began, self.now = time.process_time(), set()
        threading.setprofile(self._enter)
        sys.setprofile(self._enter)
        try:
            return (yield)
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
            for name in item.fixturenames:
                self.now |= self.fixtures.get(name, set())
            self.tests[item.nodeid] = time.process_time() - began, sorted(self.now)


def forked(work: Callable[[], int], seconds: float) -> int | str:
    """Exit status of a process that does the work; "timeout" where it takes more processor time
    than it may, or an hour."""
    pid = os.fork()
    if not pid:
        status = 70
        try:
            resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 2))
            resource.setrlimit(resource.RLIMIT_AS, (2**34, 2**34))
            signal.alarm(3600)
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
            status = int(work())
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    killers = signal.SIGXCPU, signal.SIGALRM, signal.SIGKILL
    return "timeout" if -status in killers else status


def run(tests: list[str], plugins=()) -> int:
    hypothesis.settings.register_profile(
        "mutants",
        deadline=None,
        database=None,
        derandomize=True,
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
    )
    options = ["-x", "-q", "-m", "not workflow", "-p", "no:cacheprovider", "-p", "no:xdist"]
    return pytest.main([*options, "--hypothesis-profile=mutants", *tests], list(plugins))


def clean(module: str, folder: Path) -> dict[str, tuple[float, list[int]]]:
    """What Watch sees of the tests on the module as it is. Kept while neither changes."""
    files = [path_of(module), *(ROOT / t.split("::")[0] for t in PINNED[module] if ".py" in t)]
    texts = [own.read_text() for own in files] + PINNED[module]
    kept = folder / f"{module}.tests.json"
    if kept.exists() and (found := json.loads(kept.read_text()))["texts"] == texts:
        return found["tests"]

    def work() -> int:
        watch = Watch(path_of(module))
        status = run(PINNED[module], [watch])
        kept.write_text(json.dumps({"texts": texts, "tests": watch.tests}))
        return status

    if status := forked(work, 600):
        kept.unlink(missing_ok=True)
        sys.exit(f"{module}: its tests don't pass as it is ({status})")
    return clean(module, folder)


def noticed(module: str, mutant: dict, tests: dict[str, tuple[float, list[int]]]) -> int | str:
    """0: by no test."""
    span = mutant["span"]
    own = {
        name: seconds
        for name, (seconds, lines) in tests.items()
        if span is None or any(span[0] <= line <= span[1] for line in lines)
    }
    if not own:
        return 0

    def work() -> int:
        sys.meta_path.insert(0, Instead(f"strata.{module}", mutant["text"]))
        return run(sorted(own, key=own.__getitem__))

    return forked(work, 20 + 4 * sum(own.values()))


def main(modules: list[str], count: int, folder: Path, seconds: float, again: bool) -> None:
    began = time.time()
    os.chdir(ROOT)
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(folder / "hypothesis")
    folder.mkdir(parents=True, exist_ok=True)
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.freeze()
    sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests")]
    print("| module | mutants | noticed | share |\n|---|---|---|---|")
    for module in modules:
        kept = folder / f"{module}.json"
        found = json.loads(kept.read_text()) if kept.exists() else {}
        sample = {f"{m['line']} " + "\n".join(m["change"]): m for m in mutants(module, count)}
        for key, mutant in sample.items():
            if found.get(key, 0) == 0 and (again or key not in found):
                if time.time() - began > seconds:
                    break
                found[key] = noticed(module, mutant, clean(module, folder))
                kept.write_text(json.dumps(found, indent=1))
        tried = [found[key] for key in sample if key in found]
        killed = sum(own != 0 for own in tried)
        share = killed / max(1, len(tried))
        print(f"| {module} | {len(tried)} | {killed} | {share:.0%} |", flush=True)


if __name__ == "__main__":
    text = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=text)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="such as measures.metrics")
    parser.add_argument("--count", type=int, default=60, help="mutants of each module")
    parser.add_argument("--out", type=Path, default=ROOT / "build/mutants")
    parser.add_argument("--seconds", type=float, default=1e9, help="begin nothing after so many")
    parser.add_argument("--again", action="store_true", help="try those that were not noticed")
    asked = parser.parse_args()
    main(asked.modules or list(PINNED), asked.count, asked.out, asked.seconds, asked.again)
