"""Where contestants run: one with a package of its own may have an environment of its own."""

import importlib.util
import shutil
import subprocess
import sys
import venv
from pathlib import Path

# By contestant: the module without which it cannot run, and what its environment gets beside BASE.
OWN = {
    "harness": ("lm_eval", ["lm_eval[hf]==0.4.13"]),
    # nnterp 1.3.0 imports what nnsight 0.8 has no more.
    "nnterp": ("nnterp", ["nnterp==1.3.0", "nnsight==0.7.0"]),
    "transformerlens": ("transformer_lens", ["transformer-lens==4.3.0"]),
}
BASE = ["torch==2.13.0", "transformers==5.23.0", "numpy==2.4.6"]  # as Strata has them


class Absent(Exception):
    """Why a contestant cannot run here."""


def interpreter(contestant: str, folder: Path | None) -> str:
    """The Python that has the contestant's package: of an environment in `folder`, made now where
    it is not there; without a folder this one. Raises Absent."""
    if contestant not in OWN:
        return sys.executable
    module, pins = OWN[contestant]
    if folder:
        return str(_made(folder / contestant, [*BASE, *pins]))
    if not importlib.util.find_spec(module):
        raise Absent(f"{' '.join(pins)} not installed, and no --environments asked for")
    return sys.executable


def _made(where: Path, pins: list[str]) -> Path:
    python, note = where / "bin" / "python", where / "pins.txt"
    if not note.is_file() or note.read_text(encoding="utf-8").split() != pins:
        print(f"making {where} ...", file=sys.stderr)
        shutil.rmtree(where, ignore_errors=True)
        venv.create(where, with_pip=True)
        command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *pins]
        if subprocess.run(command).returncode:
            shutil.rmtree(where)
            raise Absent(f"pip could not install {' '.join(pins)}")
        note.write_text("\n".join(pins), encoding="utf-8")
    return python
