"""What a killed extraction leaves for the next run.

A folder per (model, task) holds the dumps so far and the latest state: the residual stream and the
log-probabilities up to a layer. Every file is replaced as a whole, so a kill at any moment leaves
the one before or the new one. Files get their final names when all of them are there.
"""

import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from strata.errors import StrataError
from strata.extraction.shares import Streams
from strata.files import atomic, link
from strata.integrity import FACTS, HDF5, Refused, sealed, verify_file
from strata.integrity import hold as hold_to
from strata.store import Scores, read_attributes, read_state, write_scores, write_state
from strata.unfinished import LOCK, hold, publish_mark

# Saving takes at most this share of an extraction's time: where a layer takes more than ten times
# its saving, every layer is saved.
SHARE = 0.1
# What, beside the facts, every file that is left says of whose it is.
NAMED = ("model", "task")
# What a save is taken to cost until one was timed: seconds for a file, and bytes a second.
FILE, RATE = 0.01, 300e6


class Progress:
    """identity: all that the results depend on; what another identity left is removed.

    scores: the file of the finished scores.
    Waits while another process works in the folder.
    """

    def __init__(self, folder: str | Path, identity: dict, share: float = SHARE) -> None:
        self.folder, self.share = Path(folder), share
        self.state, self.scores = self.folder / "state.h5", self.folder / "scores.h5"
        self._of = {key: identity[key] for key in (*FACTS, *NAMED) if key in identity}
        self._lock = hold(self.folder)
        self._cost: float | None = None  # seconds that the last save took
        self._since = time.monotonic()
        self._hold("identity.json", identity, (LOCK,))
        self._drop_damaged()

    def _hold(self, name: str, value, kept: Iterable[str]) -> None:
        """Goes on with what a file of this name says is of the same value; else removes all but
        what is `kept`, and says so."""
        path, text = self.folder / name, json.dumps(value, sort_keys=True)
        known = path.is_file() and path.read_bytes() == text.encode()
        for file in self.folder.iterdir():
            if file.name not in kept and (not known or file.suffix == ".part"):
                file.unlink()
        if not known:
            with atomic(path) as part:
                part.write_text(text, encoding="utf-8")

    def _drop_damaged(self) -> None:
        """Begins anew where what an earlier run left is not what it wrote, or not here."""
        try:
            for file in self.folder.iterdir():
                verify_file(file)
                if file.suffix == HDF5:
                    layer = re.fullmatch(r"layer_(\d+)", file.stem)
                    own = {"layer": int(layer[1])} if layer else {}
                    hold_to(file, read_attributes(file)[0], self._of | own)
        except Refused as error:
            logging.warning("%s %s: beginning anew", error.path, error.reason)
            for file in self.folder.iterdir():
                if file.name not in (LOCK, "identity.json"):
                    file.unlink()

    def ask(self, todo) -> None:
        """Says what is to be computed, where the rest is there already: a state of other parts is
        of no use."""
        self._hold("todo.json", todo, (LOCK, "identity.json"))

    @property
    def finished(self) -> bool:
        return self.scores.is_file()

    def settle(self, name: str, value):
        """What the stopped run chose for `name`, else `value`, kept for the next."""
        path = self.folder / f"{name}.json"
        known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
        if not isinstance(known, dict) or known["of"] != self._of:  # not there, or another's
            known = {"of": self._of, "value": value}
            with sealed(path) as part:
                part.write_text(json.dumps(known), encoding="utf-8")
        return known["value"]

    def dump(self, layer: int) -> Path:
        return self.folder / f"layer_{layer}.h5"

    def offer(
        self,
        layer: int,
        stream: Streams,
        logprob: dict[str, list[np.ndarray]],
        together: int = 1,
        finished: Callable[[], None] = lambda: None,
    ) -> None:
        """Saves the state after `layer`, unless too much of the time would go into saving.
        together: how many tasks save in this time. What came before the state, dumps too, is there
        when finished() has returned."""
        start = time.monotonic()
        cost = self._cost if self._cost is not None else FILE + stream.nbytes / RATE
        if (start - self._since) * self.share >= cost * together:
            finished()
            parts = stream.parts()
            write_state(self.state, layer, stream.prefix, parts, logprob, self._of)
            self._since = time.monotonic()
            self._cost = self._since - start

    def resume(self, stream: Streams, logprob: dict[str, list[np.ndarray]]) -> int:
        """Fills stream and logprob with the state saved last; returns its layer, -1 for none. From
        now on counts the time that a save is worth."""
        self._since = time.monotonic()
        if not self.state.is_file():
            return -1
        try:
            layer, stream.prefix, saved = read_state(self.state, stream.prefix, stream.parts())
        except StrataError as error:
            logging.warning("%s: starting anew", error)
            return -1
        for lens, values in saved.items():
            logprob[lens].extend(values)
        said = "%s: going on after layer %d, where an earlier run was stopped"
        logging.info(said, self.folder.name, layer)
        return layer

    def finish(self, scores: Scores) -> None:
        """Keeps the scores; the state is not needed any more."""
        write_scores(self.scores, scores)
        self.state.unlink(missing_ok=True)

    def take(self, scores: Scores, dumps: Iterable[tuple[int, Path]]) -> None:
        """Finishes with what an earlier extraction left; dumps: with their layers."""
        publish((path, self.dump(layer)) for layer, path in dumps)
        self.finish(scores)

    def release(self, results: Iterable[Path]) -> None:
        """Marks the folder as no longer needed once Snakemake has the results on record: until
        then it would remove them, see unfinished.sweep."""
        publish_mark(self.folder, results)


def publish(files: Iterable[tuple[Path, Path]]) -> None:
    """Gives each file its final name as well, and its present time.

    A hard link where the file system has them, so that a kill in between loses nothing: Snakemake
    removes what an unfinished job left under final names.
    """
    for source, target in files:
        if not source.is_file():
            raise StrataError(f"{source} is gone; delete the folder it was in and run again")
        link(source, target)
        os.utime(target)
