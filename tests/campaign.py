"""The fault campaign: what damage, kills and a full disk do to a study, over every rule and every
kind of file that its jobs read.

    python tests/campaign.py [--faults 600] [--seed 0] [--only WORD ...] [--workers 2]
                             [--study FOLDER] [--record FILE]

A small study is run once to its end. From Snakemake's records of it follows what there is to
break: every rule, and every kind of file that it reads. Each fault works on a copy: the results of
one job are gone, and what it reads is cut short, has a bit flipped, a stretch zeroed, or is
exchanged with another of its kind, times kept; or the job is killed, alone or with Snakemake, or
Snakemake alone; or no file of a script may grow beyond a size, as on a full disk. Broken so are,
too, the hashes beside files, what was refused before, what a killed extraction left, what Snakemake
and Strata keep of earlier runs, and the user's own models and questions. Then Snakemake is asked
for the results, again where it refused or was killed, and all results are compared with the whole
study's. With other content the user's own files ask for other results: where they are refused, they
are put back.

Prints tables of outcomes in Markdown. With --record FILE a campaign that was stopped goes on, and
one that is over plays again what came out badly. The exit status is 1 if a fault changed results
without a word, hung, ended in a traceback or without a message that names the file, was refused for
ever, or lost what an extraction had finished.

Not played: what needs a network (fetch, fetch_set, package) or hours (pretrain).
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

from strata.integrity import beside

# Outcomes.
NOTHING = "did not happen"  # no such file, or all was over before the kill
UNCHANGED, ANEW, REFUSED = "no effect", "made anew", "refused"
WENT_ON, MENDED = "went on", "refused, then made anew"
OTHER, PUT_BACK = "other results asked for", "refused until put back"  # the user's own files
GOOD = (UNCHANGED, ANEW, MENDED, WENT_ON, OTHER, PUT_BACK)
SILENT, HANG, TRACEBACK, LOST = "SILENT", "HANG", "TRACEBACK", "LOST"
MUTE, STUCK = "NO MESSAGE", "STUCK"
BAD = (SILENT, HANG, TRACEBACK, MUTE, LOST, STUCK)
# What is compared: all that is computed, in forms that are the same from run to run.
COMPARED = (".csv", ".h5", ".json", ".jsonl", ".md", ".txt")
ASIDE = ("asked", "benchmarks", "logs", "unfinished", "explorer", "study.json", "plan.csv")

# What is broken beside what a job reads, as patterns in the study's folder. After a kill:
LEFT = {
    "state.h5": "results/*/unfinished/**/state.h5",
    "scores.h5": "results/*/unfinished/**/scores.h5",
    "layer": "results/*/unfinished/**/layer_*",
    "identity": "results/*/unfinished/**/*.json",
    "published": "results/*/unfinished/**/published",
    "lock": ".snakemake/locks/*",
    "incomplete": ".snakemake/incomplete/**/*",
    "alive": ".snakemake/strata.alive",
}
# After a run to the end:
RECORDS = {
    "metadata": ".snakemake/metadata/**/*",
    "hashes": "cache/strata/hashes.json",
    "rates": "cache/strata/rates.json",
    "plan.csv": "results/*/plan.csv",
    "study.json": "results/*/study.json",
    "asked": "results/*/asked/**/*",
    "benchmarks": "results/*/benchmarks/**/*",
}
# The user's own, and a word in the results that stand on them:
OWN = {
    "weights": ("small/*.safetensors", "small"),
    "config.json": ("small/config.json", "small"),
    "tokenizer": ("small/tokenizer.json", "small"),
    "questions": ("sums.jsonl", "sums"),
}
READ_OWN = ("describe", "extract", "prepare")
# What stands for a rule, where a fault is not in what one reads:
SAID = {
    "beside": "a hash beside a file",
    "refused": "what was refused before",
    "left": "left by a killed extraction",
    "records": "kept between runs",
    "own": "the user's own",
}
HASH = " hash"  # behind the kind of a file: what is broken is the hash beside it


@dataclass(frozen=True)
class Job:
    """A job of the finished study, as Snakemake has it on record; paths by the study's folder."""

    rule: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Fault:
    """rule: that of the job whose results are gone, or where the file is from (left, records,
    refused, own); kind: of the file that is broken; how: the name of what is done to it; seed: of
    what is random in it."""

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
    study.config["models"]["large"] |= {"untrained": True, "job": "model"}
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


def finish(study: workflow.Study, targets: tuple[str, ...] = ("plan", "published", "all")) -> None:
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
    jobs = [
        Job(
            re.sub("^extract_(small|large)$", "extract", key[0]),
            tuple(found[*key, "in"]),
            tuple(own),
        )
        for key, own in found.items()
        if key[-1] != "in"
    ]
    items = sorted({path for job in jobs for path in job.inputs if path.endswith(".jsonl")})
    return [*jobs, Job("plan", tuple(items), ("plan",))]  # has no outputs on record


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
        own = {"XDG_CACHE_HOME": str(folder / "cache"), warm.FILE_SIZE: str(limit), warm.SAVES: "1"}
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


def kill(folder: Path, which: str = "all") -> bool:
    """SIGKILL to all that is at work in a folder, to Snakemake, or to its job, the youngest.
    Returns whether there was any."""
    found = processes(folder)
    meant = {"all": found, "snakemake": found[:1], "job": found[1:][-1:]}[which]
    for own in meant:
        with contextlib.suppress(psutil.Error):
            own.kill()
    return bool(meant)


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
    read = [(*group, some) for group, some in groups.items()]
    sealed: dict[str, list[Job]] = defaultdict(list)
    for job in jobs:
        for kind in sorted({kind_of(path) for path in job.inputs if "results" in path} - {""}):
            if not kind.startswith("asked") and not kind.endswith(".h5"):
                sealed[kind].append(job)
    read += [("beside", kind + HASH, some) for kind, some in sealed.items()]
    read += [("refused", kind, some) for kind, some in sealed.items()]
    extract = [*by_rule["extract"], *by_rule.get("extract_untrained", [])]
    read += [("left", kind, extract) for kind in LEFT]
    read += [("records", kind, jobs) for kind in RECORDS]
    for kind, (_, word) in OWN.items():
        some = [job for job in jobs if job.rule in READ_OWN and word in job.outputs[0]]
        read.append(("own", kind, some))
    read = [one for one in read if one[-1]]
    ways = (*DAMAGE, "swap")
    rng.shuffle(read)
    while min(len(damaged), len(stopped)) < count:
        for place, (rule, kind, some) in enumerate(read):
            # Every kind meets another way in each round.
            alone = len({p for job in jobs for p in job.inputs if kind_of(p) == kind}) == 1
            how = ways[(turn + place) % (len(ways) - alone)]
            damaged.append(Fault(rule, kind, how, rng.choice(some), rng.randrange(10**6)))
        # An extraction takes longest and keeps what it has: killed as often as many others.
        rules = [*by_rule.items(), *[("extract", by_rule["extract"])] * 10]
        rng.shuffle(rules)
        for rule, some in rules:
            for how in (KILLS[rng.randrange(3)], "full disk"):
                stopped.append(Fault(rule, "", how, rng.choice(some), rng.randrange(10**6)))
        turn += 1
    found = [*damaged[: count - count // 4], *stopped[: count // 4]]
    rng.shuffle(found)
    return [own for own in found if not words or any(word in str(own) for word in words)]


class Campaign:
    def __init__(self, study: workflow.Study, patience: float) -> None:
        self.study, self.patience = study, patience
        self.took: dict[str, float] = defaultdict(lambda: 3.0)

    def play(self, fault: Fault) -> Outcome:
        # Beside the whole study: the configuration has paths from the one, and from the other.
        folder = Path(tempfile.mkdtemp(dir=self.study.folder.parent))
        shutil.copytree(self.study.folder, folder, symlinks=True, dirs_exist_ok=True)
        try:
            return self._play(fault, folder, random.Random(fault.seed))
        finally:
            kill(folder)
            shutil.rmtree(folder, ignore_errors=True)

    def _play(self, fault: Fault, folder: Path, rng: random.Random) -> Outcome:
        target = fault.job.outputs[0]
        if fault.rule != "records":
            for path in fault.job.outputs:
                (folder / path).unlink(missing_ok=True)
        if fault.rule == "left":
            self._leave(folder, target, fault)
        broken: list[Path] = []
        left: dict[str, str] = {}
        limit = 0
        if fault.how in KILLS:
            if not self._kill(fault, folder, target, rng):
                return Outcome(NOTHING)
            left = extracted(folder)
        elif fault.how == "full disk":
            whole = [self.study.folder / path for path in fault.job.outputs]
            sizes = [path.stat().st_size for path in whole if path.is_file()]
            limit = rng.randrange(1, max(sizes, default=1000) + 1)
        else:
            broken = self._break(fault, folder, rng)
            if not broken:
                return Outcome(NOTHING)
        start = time.monotonic()
        found = self._run(folder, target, limit)
        self.took[fault.rule] = time.monotonic() - start
        if found is None:
            return self._compare(fault, folder, broken, left)
        names = [path.parent / path.parent.name for path in broken if fault.rule == "own"]
        if found.kind == REFUSED and broken and not named([*broken, *names], found.said):
            return Outcome(MUTE, found.said)
        if found.kind == REFUSED and fault.rule == "own":
            for path in broken:
                shutil.copy2(self.study.folder / path.relative_to(folder), path)
        # The next run makes anew what was refused; of two files, the one after it the other.
        again = found
        for _ in range(1 + len(broken)):
            if again is None or again.kind != REFUSED:
                break
            again = self._run(folder, target)
        if again is not None:
            return Outcome(STUCK, again.said) if again.kind == REFUSED else again
        done = self._compare(fault, folder, broken, left)
        kind = PUT_BACK if fault.rule == "own" else MENDED
        return Outcome(kind, found.said) if done.kind in GOOD else done

    def _run(self, folder: Path, target: str, limit: int = 0) -> Outcome | None:
        run = Run(folder, [target], limit)
        return self._judge(run.wait(self.patience), run.said())

    def _leave(self, folder: Path, target: str, fault: Fault) -> None:
        """An extraction that was killed, and left a file of this kind if it came to it, or two."""
        run, wanted = Run(folder, [target]), 1 + (fault.how == "swap")

        def come() -> bool:
            left = files(folder, LEFT[fault.kind])
            return len(left) >= wanted or run.process.poll() is not None

        _until(come, 60)
        kill(folder)
        run.process.wait()

    def _break(self, fault: Fault, folder: Path, rng: random.Random) -> list[Path]:
        """The files that were changed."""
        everything = {path for job in jobs_of(folder) for path in job.inputs}
        if patterns := {"left": LEFT, "records": RECORDS}.get(fault.rule):
            found = others = files(folder, patterns[fault.kind])
        elif fault.rule == "own":
            found = files(folder, OWN[fault.kind][0])
            others = files(folder, OWN[fault.kind][0].replace("small", "large"))
        else:
            kind = fault.kind.removesuffix(HASH)
            found, others = (
                [folder / path for path in sorted(some) if kind_of(path) == kind]
                for some in (fault.job.inputs, everything)
            )
        if fault.kind.endswith(HASH):
            found, others = map(beside, found), map(beside, others)
        found = [path for path in found if path.is_file() and path.stat().st_size]
        if not found:
            return []
        path = rng.choice(found)
        if fault.rule == "refused":  # one that was refused before, and now again
            aside, before = path.with_name(f"{path.name}.refused"), path.read_bytes()
            keep_times(path, flip(before, rng))
            aside.write_bytes(DAMAGE.get(fault.how, flip)(before, rng))
            return [path]
        if fault.how != "swap":
            before = path.read_bytes()
            changed = DAMAGE[fault.how](before, rng)
            keep_times(path, changed)
            return [path] if changed != before else []
        before = path.read_bytes()
        others = [own for own in others if own.is_file() and own.read_bytes() != before]
        if not others:
            return []
        other = rng.choice(others)
        keep_times(path, other.read_bytes())
        keep_times(other, before)
        return [path, other]

    def _kill(self, fault: Fault, folder: Path, target: str, rng: random.Random) -> bool:
        """Kills at a random moment. Returns whether there was anything at work."""
        run = Run(folder, [target])
        long = fault.rule.startswith("extract")
        moment = rng.choice(["", "state.h5", "scores.h5", "published"] if long else [""])
        until = rng.uniform(0, self.took[fault.rule])

        def come() -> bool:
            passed = time.monotonic() - start > until and not moment
            found = moment and files(folder, LEFT[moment])
            return bool(passed or found or run.process.poll() is not None)

        start = time.monotonic()
        _until(come, self.patience)
        met = run.process.poll() is None and kill(folder, fault.how.removeprefix("kill "))
        if fault.how != "kill all":
            run.wait(self.patience)
        return met

    def _judge(self, status: int | None, said: str) -> Outcome | None:
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
        for path in sorted((self.study.folder / "results").rglob("*")):
            name = path.relative_to(self.study.folder)
            if path.suffix not in COMPARED or name.parts[2] in ASIDE or name in own:
                continue
            if not (folder / name).is_file() or content(folder / name) != content(path):
                wrong.append(str(name))
        whole, there = (
            {name: (top / name).read_bytes() for name in own if (top / name).is_file()}
            for top in (self.study.folder, folder)
        )
        if wrong:
            asked = fault.rule == "own" and there != whole
            return Outcome(OTHER if asked else SILENT, wrong[:3])
        for name, what in left.items():
            said, task = log_of(folder, name), Path(name).name
            goes_on = what == "state" and f"{task}: going on after layer" in said
            if f"{task}: lenses" in said and not goes_on:
                return Outcome(LOST, [name, what])
        if fault.how in (*KILLS, "full disk"):
            return Outcome(WENT_ON)
        return Outcome(ANEW if there == whole else UNCHANGED)


def files(folder: Path, pattern: str) -> list[Path]:
    return sorted(path for path in folder.glob(pattern) if path.is_file())


def named(broken: list[Path], said: list[str]) -> bool:
    """Whether a message names one of the files, or that which one is the hash of, or its folder."""
    names = {path.name.removeprefix(".").removesuffix(".sha256") for path in broken}
    return any(name in line for name in names for line in said)


def extracted(folder: Path) -> dict[str, str]:
    """What extractions have finished by the folder of each: their scores, or a state."""
    left = {}
    for what in ("state", "scores"):
        for path in files(folder, LEFT[f"{what}.h5"]):
            left[path.parent.relative_to(folder).as_posix().split("unfinished/")[1]] = what
    return left


def log_of(folder: Path, name: str) -> str:
    """What an extraction said, its own log or its model's; name: [untrained/]model/task."""
    *rest, model, task = name.split("/")
    logs = folder / "results" / "tiny" / "logs" / "_".join(["extract", *rest])
    found = [
        path for path in (logs / model / f"{task}.log", logs / f"{model}.log") if path.is_file()
    ]
    return found[0].read_text() if found else ""


def content(path: Path) -> object:
    """What is compared of a file: of a model's description all but where the model is, of
    provenance all but the hash of what was asked for, which also says in place of what."""
    if path.name == "provenance.json":
        record = json.loads(path.read_text())
        for name, own in record["files"].items():
            own["sha256"] = None if Path(name).parts[2:3] == ("asked",) else own["sha256"]
        return record
    if path.parent.name == "models":
        return {
            key: value for key, value in json.loads(path.read_text()).items() if key != "folder"
        }
    return path.read_bytes()


def _until(come: Callable[[], object], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not come() and time.monotonic() < end:
        time.sleep(0.005)


def table(found: list[tuple[Fault, Outcome]], what: str, of: Callable[[Fault], str]) -> str:
    """Outcomes by something of the faults, in Markdown; of good outcomes those that there were."""
    kinds = [kind for kind in GOOD if any(outcome.kind == kind for _, outcome in found)]
    kinds += BAD
    rows = [f"| {what} | faults | " + " | ".join(kinds) + " |", "|---" * (len(kinds) + 2) + "|"]
    for name in [*sorted({of(fault) for fault, _ in found}), "all"]:
        own = Counter(outcome.kind for fault, outcome in found if name in (of(fault), "all"))
        counts = " | ".join(str(own[kind]) for kind in kinds)
        rows.append(f"| {name} | {sum(own.values())} | {counts} |")
    return "\n".join(rows)


def met_by(fault: Fault) -> str:
    """What a fault breaks, in the words of the table."""
    if not fault.kind:
        return "a job"
    if fault.rule in ("left", "records", "own"):
        return f"{SAID[fault.rule]}: {fault.kind}"
    return SAID.get(fault.rule, f"read by a job: {fault.kind.split()[0]}")


def read_record(path: Path | None) -> dict[str, str]:
    """By fault what came of it in the runs before; what was bad is to be played again."""
    lines = path.read_text().splitlines() if path and path.is_file() else []
    known = dict(reversed(line.split(" | ", 1)) for line in lines)
    return {fault: kind for fault, kind in known.items() if kind not in BAD}


def main(arguments: argparse.Namespace) -> None:
    workflow.allowed = True
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}  # as tests have it
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as top:
        study = small((arguments.study or Path(top) / "whole").resolve())
        finish(study)
        jobs = jobs_of(study.folder)
        print(f"{len(jobs)} jobs of {len({job.rule for job in jobs})} rules", flush=True)
        faults = plan(jobs, arguments.faults, arguments.seed, arguments.only)
        known = read_record(arguments.record)
        found = [(own, Outcome(known[str(own)])) for own in faults if str(own) in known]
        faults = [own for own in faults if str(own) not in known]
        campaign = Campaign(study, arguments.patience)
        with ThreadPoolExecutor(arguments.workers) as pool:
            played = pool.map(campaign.play, faults)
            for fault, outcome in zip(faults, played, strict=True):
                found.append((fault, outcome))
                line = f"{outcome.kind} | {fault}"
                if arguments.record:
                    with arguments.record.open("a") as file:
                        print(line, file=file)
                if outcome.kind in BAD or arguments.verbose:
                    print(line, *(words[:200] for words in outcome.said), sep="\n    ", flush=True)
    met = [(fault, outcome) for fault, outcome in found if outcome.kind != NOTHING]
    rules = {fault.rule for fault, _ in met if fault.rule not in SAID}
    kinds = {(fault.rule, fault.kind) for fault, _ in met if fault.kind}
    print(f"\n{len(met)} faults, {len(rules)} rules, {len(kinds)} kinds of file read by a rule, "
          f"{(time.monotonic() - start) / 60:.0f} minutes\n")  # fmt: skip
    print(table(met, "fault", lambda fault: fault.how), table(met, "of", met_by), sep="\n\n")
    sys.exit(any(outcome.kind in BAD for _, outcome in found))


if __name__ == "__main__":
    form = partial(argparse.RawTextHelpFormatter, width=100)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--faults", type=int, default=600, help="how many (default: 600)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[], help="faults with one of these words")
    parser.add_argument("--workers", type=int, default=2, help="faults at once (default: 2)")
    parser.add_argument("--study", type=Path, help="folder to keep the whole study in")
    parser.add_argument(
        "--record", type=Path, help="file of outcomes: a campaign that was stopped goes on"
    )
    parser.add_argument("--patience", type=float, default=300, help="seconds until a run hangs")
    parser.add_argument("--verbose", action="store_true", help="show every outcome")
    main(parser.parse_args())
