"""The fault campaign: what damage, kills and a full disk do to a study, over every rule and every
kind of file that its jobs read.

    python tests/campaign.py [--faults 550] [--seed 0] [--only WORD ...] [--workers 2]

A small study is run once to its end. From Snakemake's records of it follows what there is to
break: every rule, and every kind of file that it reads. Each fault works on a copy: the results of
one job are gone, and what it reads is cut short, has a bit flipped, a stretch zeroed, or is
exchanged with another of its kind, times kept; or the job is killed, alone or with Snakemake, or
Snakemake alone; or files may not grow beyond a size, as on a full disk. Then Snakemake is asked
for the results, once more where it refused or was killed, and all results are compared with the
whole study's. The user's own files, models and questions, are left alone: with other content they
ask for other results.

Prints a table of outcomes in Markdown. The exit status is 1 if a fault changed results without a
word, hung, ended in a traceback or without a message, or lost what an extraction had finished.
"""

import argparse
import contextlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from base64 import urlsafe_b64decode
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psutil
import warm
import workflow
from mirror import MIRROR

# Outcomes.
NOTHING = "no such file"  # none that could be broken so
UNCHANGED, ANEW, REFUSED = "no effect", "made anew", "refused"
WENT_ON, MENDED = "went on", "refused, then made anew"
GOOD = (NOTHING, UNCHANGED, ANEW, MENDED, REFUSED, WENT_ON)
SILENT, HANG, TRACEBACK, LOST = "SILENT", "HANG", "TRACEBACK", "LOST"
MUTE, STUCK = "NO MESSAGE", "STUCK"
BAD = (SILENT, HANG, TRACEBACK, MUTE, LOST, STUCK)
# What is compared: all that is computed, in forms that are the same from run to run.
COMPARED = (".csv", ".h5", ".json", ".jsonl", ".md", ".txt")
ASIDE = ("asked", "benchmarks", "logs", "unfinished", "explorer", "study.json", "plan.csv")


@dataclass(frozen=True)
class Job:
    """A job of the finished study, as Snakemake has it on record; paths by the study's folder."""

    rule: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Fault:
    """rule: that of the job whose results are gone; kind: of the file that is broken; how: the name
    of what is done to it; target: the job; seed: of what is random in it."""

    rule: str
    kind: str
    how: str
    job: Job
    seed: int

    def __str__(self) -> str:
        return f"{self.rule} | {self.kind} | {self.how} | {self.seed}"


@dataclass
class Outcome:
    kind: str
    said: list[str] = field(default_factory=list)


# The study


def small(folder: Path) -> workflow.Study:
    """Two models, an untrained one, two tasks or three, probes."""
    tasks = ["sums", "arithmetic"]
    study = workflow.Study(folder, tasks=tasks)
    study.config["models"]["large"]["untrained"] = True
    if (MIRROR / "llama_analysis").is_dir():
        study.config["tasks"]["truthfulqa"] = {"source": "truthfulqa", "limit": 6}
        study.config["select"]["tasks"].append("truthfulqa")
        study.config["mirror"] = str(MIRROR)
    study.config["probes"] = {
        "kinds": ["ridge", "means"],
        "folds": 3,
        "penalties": [1],
        "draws": 20,
    }
    study.config["memory"] = {"host": 2}  # what is free changes from hour to hour
    study.write()
    return study


def finish(study: workflow.Study, targets: tuple[str, ...] = ("plan", "all")) -> None:
    """Runs the whole study, or what of it is not there yet."""
    for target in targets:
        run = Run(study.folder, [target])
        assert run.wait(3600) == 0, run.said()


def jobs_of(folder: Path) -> list[Job]:
    """All jobs of a study that was run in `folder`, from Snakemake's records."""
    found: dict[tuple, list[str]] = defaultdict(list)
    records = folder / ".snakemake" / "metadata"
    for path in sorted(path for path in records.rglob("*") if path.is_file()):
        record = json.loads(path.read_text())
        name = "".join(part.removeprefix("@") for part in path.relative_to(records).parts)
        output = urlsafe_b64decode(name).decode()
        if (folder / output).is_file():
            found[record["rule"], *record["log"]].append(output)
            found[record["rule"], *record["log"], "in"] = record["input"]
    return [
        Job(
            re.sub("^extract_(small|large)$", "extract", key[0]),
            tuple(found[*key, "in"]),
            tuple(own),
        )
        for key, own in found.items()
        if key[-1] != "in"
    ]


def kind_of(path: str) -> str:
    """What kind of file a path is: its folder among the results, and its suffix."""
    parts = Path(path).parts
    if parts[0] == "results":
        return f"{parts[2] if len(parts) > 3 else parts[-1]} {''.join(Path(path).suffixes[-1:])}"
    return parts[1] if parts[0] == "data" else ""


# Running it


class Run:
    """Snakemake in a folder, in processes that have begun already (warm.py)."""

    def __init__(self, folder: Path, targets: list[str], limit: int = 0) -> None:
        self.folder, self.output = folder, folder / "output"
        command = [
            warm.python(),
            "-m",
            "snakemake",
            "--snakefile",
            str(workflow.ROOT / "Snakefile"),
        ]
        command += [*targets, "--cores", "1", "--configfile", "study.yaml"]
        own = {"XDG_CACHE_HOME": str(folder / "cache"), warm.FILE_SIZE: str(limit)}
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                command, cwd=folder, env={**os.environ, **own}, stdout=output, stderr=output
            )

    def said(self) -> str:
        return self.output.read_text(encoding="utf-8", errors="replace")

    def wait(self, seconds: float) -> int | None:
        """Its exit status; None if it hangs."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            kill(self.folder)
            self.process.wait()
            return None


def processes(folder: Path) -> list[psutil.Process]:
    """Those at work in a folder but the callers of warm ones, the oldest first: Snakemake."""
    found = []
    for own in psutil.process_iter():
        try:
            if own.cwd() == str(folder) and warm.python() not in own.cmdline():
                found.append((own.create_time(), own.pid, own))
        except psutil.Error:
            continue
    return [own for *_, own in sorted(found)]


def kill(folder: Path, which: str = "all") -> None:
    """SIGKILL to all that is at work in a folder, to Snakemake, or to its job, the youngest."""
    found = processes(folder)
    for own in {"all": found, "snakemake": found[:1], "job": found[1:][-1:]}[which]:
        with contextlib.suppress(psutil.Error):
            own.kill()


# Faults


def keep_times(path: Path, content: bytes) -> None:
    before = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def truncate(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def flip(content: bytes, rng: random.Random) -> bytes:
    own = bytearray(content)
    own[rng.randrange(len(own))] ^= 1 << rng.randrange(8)
    return bytes(own)


def zero(content: bytes, rng: random.Random) -> bytes:
    """A block of a disk, or all of a small file."""
    start = rng.randrange(max(1, len(content) - 512))
    stretch = content[start : start + 512]
    return content[:start] + bytes(len(stretch)) + content[start + len(stretch) :]


DAMAGE: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "truncate": truncate,
    "flip": flip,
    "zero": zero,
}
KILLS = ("kill all", "kill snakemake", "kill job")


def plan(jobs: list[Job], count: int, seed: int, words: list[str]) -> list[Fault]:
    """So many faults: every rule and kind of file that it reads, damaged in turn in every way, and
    every rule killed and without space."""
    rng, damaged, stopped, turn = random.Random(seed), [], [], 0
    groups: dict[tuple[str, str], list[Job]] = defaultdict(list)
    for job in jobs:
        for kind in sorted({kind_of(path) for path in job.inputs} - {""}):
            groups[job.rule, kind].append(job)
    by_rule: dict[str, list[Job]] = defaultdict(list)
    for job in jobs:
        by_rule[job.rule].append(job)
    extract = by_rule["extract"]
    read = [(*group, some) for group, some in groups.items()]
    read += [("left", kind, extract) for kind in ("state.h5", "layer", "identity", "published")]
    read += [("records", kind, jobs) for kind in ("metadata", "hashes", "plan.csv")]
    ways = (*DAMAGE, "swap")
    rng.shuffle(read)
    while min(len(damaged), len(stopped)) < count:
        for place, (rule, kind, some) in enumerate(read):
            # Every kind meets another way in each round.
            how = ways[(turn + place) % len(ways)]
            damaged.append(Fault(rule, kind, how, rng.choice(some), rng.randrange(10**6)))
        # An extraction takes longest and keeps what it has: killed as often as many others.
        rules = [*by_rule.items(), *[("extract", extract)] * 10]
        rng.shuffle(rules)
        for rule, some in rules:
            for how in (KILLS[rng.randrange(3)], "full disk"):
                stopped.append(Fault(rule, "", how, rng.choice(some), rng.randrange(10**6)))
        turn += 1
    found = [*damaged[: count - count // 4], *stopped[: count // 4]]
    return [own for own in found if not words or any(word in str(own) for word in words)]


class Campaign:
    def __init__(self, study: workflow.Study, top: Path, patience: float) -> None:
        self.study, self.top, self.patience = study, top, patience
        self.results = study.results.relative_to(study.folder)
        self.took: dict[str, float] = defaultdict(lambda: 5.0)

    def play(self, fault: Fault) -> Outcome:
        folder = Path(tempfile.mkdtemp(dir=self.top)) / "study"
        shutil.copytree(self.study.folder, folder, symlinks=True)
        try:
            return self._play(fault, folder, random.Random(fault.seed))
        finally:
            kill(folder)
            shutil.rmtree(folder.parent, ignore_errors=True)

    def _play(self, fault: Fault, folder: Path, rng: random.Random) -> Outcome:
        target = fault.job.outputs[0]
        gone = fault.rule not in ("records",)
        for path in fault.job.outputs if gone else ():
            (folder / path).unlink(missing_ok=True)
        if fault.rule == "left":
            self._leave(folder, target, fault.kind, rng)
        broken: list[Path] = []
        limit = 0
        if fault.how in KILLS:
            left = self._kill(fault, folder, target, rng)
        elif fault.how == "full disk":
            sizes = [(self.study.folder / path).stat().st_size for path in fault.job.outputs]
            limit = rng.randrange(1, max(sizes) + 1)
        else:
            broken = self._break(fault, folder, rng)
            if not broken:
                return Outcome(NOTHING)
        run = Run(folder, [target], limit)
        start = time.monotonic()
        status = run.wait(self.patience)
        self.took[fault.rule] = time.monotonic() - start
        said = run.said()
        found = self._judge(status, said, folder)
        if found is None:
            return self._compare(fault, folder, broken, left if fault.how in KILLS else {})
        if found.kind != REFUSED:
            return found
        # Refused: the next run makes it anew by itself, or says the same.
        run = Run(folder, [target])
        again = self._judge(run.wait(self.patience), run.said(), folder)
        if again is None:
            done = self._compare(fault, folder, broken, {})
            return Outcome(MENDED, found.said) if done.kind in GOOD else done
        if again.kind == REFUSED and not broken:
            return Outcome(STUCK, again.said)  # nothing is damaged any more
        return again

    def _leave(self, folder: Path, target: str, kind: str, rng: random.Random) -> None:
        """An extraction that was killed, and left a file of this kind if it came to it."""
        run = Run(folder, [target])
        _until(lambda: self._unfinished(folder, kind) or run.process.poll() is not None, 60)
        kill(folder)
        run.process.wait()

    def _unfinished(self, folder: Path, kind: str) -> list[Path]:
        found = (folder / self.results / "unfinished").rglob("*")
        return sorted(path for path in found if path.name.startswith(kind))

    def _break(self, fault: Fault, folder: Path, rng: random.Random) -> list[Path]:
        """The files that were changed."""
        if fault.rule == "left":
            found = self._unfinished(folder, fault.kind)
        elif fault.rule == "records":
            places = {
                "metadata": folder / ".snakemake" / "metadata",
                "hashes": folder / "cache",
                "plan.csv": folder / self.results / "plan.csv",
            }
            place = places[fault.kind]
            found = [place] if place.is_file() else sorted(place.rglob("*"))
        else:
            found = [folder / path for path in fault.job.inputs if kind_of(path) == fault.kind]
        found = [path for path in found if path.is_file() and path.stat().st_size]
        if not found:
            return []
        path = rng.choice(found)
        if fault.how != "swap":
            content = path.read_bytes()
            changed = DAMAGE[fault.how](content, rng)
            keep_times(path, changed)
            return [path] if changed != content else []
        if fault.rule in ("left", "records"):
            others = found
        else:
            everything = {
                p for job in jobs_of(folder) for p in job.inputs if kind_of(p) == fault.kind
            }
            others = [folder / own for own in sorted(everything)]
        others = [own for own in others if own.is_file() and own.read_bytes() != path.read_bytes()]
        if not others:
            return []
        other = rng.choice(others)
        contents = path.read_bytes(), other.read_bytes()
        keep_times(path, contents[1])
        keep_times(other, contents[0])
        return [path, other]

    def _kill(self, fault: Fault, folder: Path, target: str, rng: random.Random) -> dict[str, str]:
        """Kills at a random moment. Returns by model/task what an extraction has finished then."""
        run = Run(folder, [target])
        moments = ["", "state.h5", "scores.h5", "published"] if fault.rule == "extract" else [""]
        moment, until = rng.choice(moments), rng.uniform(0, self.took[fault.rule])

        def come() -> bool:
            passed = time.monotonic() - start > until and not moment
            found = moment and self._unfinished(folder, moment)
            return bool(passed or found or run.process.poll() is not None)

        start = time.monotonic()
        _until(come, self.patience)
        kill(folder, fault.how.removeprefix("kill "))
        if fault.how != "kill all":
            run.wait(self.patience)
        left = {}
        for path in self._unfinished(folder, "s"):
            if path.name in ("state.h5", "scores.h5"):
                own = str(path.parent.relative_to(folder / self.results / "unfinished"))
                left[own] = "scores" if left.get(own) == "scores" else path.stem
        return left

    def _judge(self, status: int | None, said: str, folder: Path) -> Outcome | None:
        """What a run came to that did not succeed; None for one that did."""
        lines = said.splitlines()
        if status is None:
            return Outcome(HANG, lines[-3:])
        if crash := re.search(
            r"^(Traceback \(most|--- Logging error|Fatal Python error).*", said, re.M
        ):
            return Outcome(TRACEBACK, [*said[crash.start() :].splitlines()[:3], *lines[-3:]])
        if status == 0:
            return None
        # Each message is in the job's log, which Snakemake shows, and once more at the end.
        errors = dict.fromkeys(line.strip() for line in lines if line.strip().startswith("error: "))
        if not errors:
            return Outcome(MUTE, lines[-5:])
        return Outcome(REFUSED, list(errors))

    def _compare(self, fault, folder: Path, broken: list[Path], left: dict[str, str]) -> Outcome:
        own = {path.relative_to(folder) for path in broken}
        wrong = []
        for path in sorted(self.study.results.rglob("*")):
            name = path.relative_to(self.study.folder)
            if path.suffix not in COMPARED or name.parts[2] in ASIDE or name in own:
                continue
            if not (folder / name).is_file() or content(folder / name) != content(path):
                wrong.append(str(name))
        if wrong:
            return Outcome(SILENT, wrong[:3])
        for name, what in left.items():
            log = folder / self.results / "logs" / "extract" / f"{name}.log"
            said = log.read_text() if log.is_file() else ""
            taken = ("an earlier run finished it", "it was extracted before")
            taken += ("going on after layer",) if what == "state" else ()
            if "lenses: " in said and not any(words in said for words in taken):
                return Outcome(LOST, [name, what])
        if fault.how in (*KILLS, "full disk"):
            return Outcome(WENT_ON)
        whole = [path.relative_to(folder) for path in broken if path.is_file()]
        same = [
            (folder / name).read_bytes() == (self.study.folder / name).read_bytes()
            for name in whole
            if (self.study.folder / name).is_file()
        ]
        return Outcome(ANEW if all(same) else UNCHANGED)


def content(path: Path) -> object:
    """What is compared of a file: of a model's description all but where the model is."""
    if path.parent.name == "models":
        return {
            key: value for key, value in json.loads(path.read_text()).items() if key != "folder"
        }
    return path.read_bytes()


def _until(come: Callable[[], object], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not come() and time.monotonic() < end:
        time.sleep(0.005)


def table(found: list[tuple[Fault, Outcome]]) -> str:
    """Outcomes by what was done, in Markdown."""
    kinds = [*GOOD, *BAD]
    rows = ["| fault | faults | " + " | ".join(kinds) + " |", "|---" * (len(kinds) + 2) + "|"]
    ways = [*DAMAGE, "swap", *KILLS, "full disk"]
    for how in [*ways, "all"]:
        own = Counter(outcome.kind for fault, outcome in found if how in (fault.how, "all"))
        if own:
            counts = " | ".join(str(own[kind]) for kind in kinds)
            rows.append(f"| {how} | {sum(own.values())} | {counts} |")
    return "\n".join(rows)


def main(arguments: argparse.Namespace) -> None:
    workflow.allowed = True
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}  # as tests have it
    found: list[tuple[Fault, Outcome]] = []
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as top:
        study = small((arguments.study or Path(top) / "whole").resolve())
        finish(study)
        jobs = jobs_of(study.folder)
        print(f"{len(jobs)} jobs of {len({job.rule for job in jobs})} rules", flush=True)
        faults = plan(jobs, arguments.faults, arguments.seed, arguments.only)
        campaign = Campaign(study, Path(top), arguments.patience)
        with ThreadPoolExecutor(arguments.workers) as pool:
            played = pool.map(campaign.play, faults)
            for fault, outcome in zip(faults, played, strict=True):
                found.append((fault, outcome))
                if outcome.kind in BAD or arguments.verbose:
                    words = "\n    ".join(line[:200] for line in outcome.said)
                    print(f"{outcome.kind} | {fault}\n    {words}", flush=True)
    met = [(fault, outcome) for fault, outcome in found if outcome.kind != NOTHING]
    rules = {fault.rule for fault, _ in met}
    kinds = {(fault.rule, fault.kind) for fault, _ in met}
    print(f"\n{len(met)} faults, {len(rules)} rules, {len(kinds)} kinds of file read by a rule, "
          f"{(time.monotonic() - start) / 60:.0f} minutes\n")  # fmt: skip
    print(table(found))
    sys.exit(any(outcome.kind in BAD for _, outcome in found))


if __name__ == "__main__":
    form = partial(argparse.RawTextHelpFormatter, width=100)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--faults", type=int, default=550, help="how many (default: 550)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[], help="faults with one of these words")
    parser.add_argument("--workers", type=int, default=2, help="faults at once (default: 2)")
    parser.add_argument("--study", type=Path, help="folder to keep the whole study in")
    parser.add_argument("--patience", type=float, default=300, help="seconds until a run hangs")
    parser.add_argument("--verbose", action="store_true", help="show every outcome")
    main(parser.parse_args())
