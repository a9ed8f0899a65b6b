"""Runs a notebook's cells in this process, and writes what they show.

`python tests/notebook.py docs/library.ipynb`, in a folder with results/embedded, makes the outputs
of docs/library.ipynb anew; a test runs it and finds the same.
"""

import ast
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import nbformat


def shown(notebook) -> Iterator[tuple[dict, str, str]]:
    """Each cell of code, what it prints, and the repr of its last expression, empty if none."""
    names: dict = {}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            tree = ast.parse(cell.source)
            last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
            printed, value = StringIO(), None
            with redirect_stdout(printed):
                exec(compile(tree, cell.id, "exec"), names)
                if last:
                    value = eval(compile(ast.Expression(last.value), cell.id, "eval"), names)
            yield cell, printed.getvalue(), "" if value is None else repr(value)


def main(path: Path) -> None:
    notebook = nbformat.read(path, 4)
    for number, (cell, printed, text) in enumerate(shown(notebook), 1):
        cell.execution_count, cell.outputs = number, []
        if printed:
            cell.outputs.append(nbformat.v4.new_output("stream", name="stdout", text=printed))
        if text:
            data = {"text/plain": text}
            own = nbformat.v4.new_output("execute_result", data, execution_count=number)
            cell.outputs.append(own)
    nbformat.write(notebook, path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
