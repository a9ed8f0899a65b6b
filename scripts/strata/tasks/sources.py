"""One reader per data set: from the paper's files, or a user's own, to multiple-choice items.

Each reader keeps the rules of the authors' scripts (nuochenpku/LLaMA_Analysis at f968fd9), oddities
included; what is odd is counted by the audit, never repaired. Standard library only: this module
is imported while the Snakefile is parsed.
"""

import csv
import hashlib
import io
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from string import ascii_uppercase

from strata.errors import StrataError
from strata.items import Item, audit
from strata.tasks import calculation, microworld
from strata.tasks.prompts import Prompt

LANGUAGES = {"es": "Spanish", "fr": "French", "zh": "Chinese", "th": "Thai"}
MATHS_LINES = 1000  # the authors' scripts read no further


@dataclass(frozen=True)
class Source:
    """files(options): what it reads, as named in datasets.csv; own(options): files of the user's.

    read(task, options, raw) -> items and, by subtask or "all", counts for the audit.
    """

    read: Callable[[str, dict, Path], tuple[list[Item], dict]]
    files: Callable[[dict], list[str]] = lambda options: []
    own: Callable[[dict], list[str]] = lambda options: []


def files(options: dict) -> list[str]:
    """Files of datasets.csv that a task with these options reads."""
    return SOURCES[options["source"]].files(options)


def own_files(options: dict) -> list[str]:
    """Files of the user's that a task with these options reads."""
    return SOURCES[options["source"]].own(options)


def prepare(task: str, options: dict, raw: Path) -> tuple[list[Item], dict]:
    """The items of a task and its audit. `raw` is the folder of downloaded files."""
    items, counts = SOURCES[options["source"]].read(task, options, Path(raw))
    kept = first_of_each_subtask(items, options.get("limit"))
    if not kept:
        raise StrataError(f"task {task}: its source holds no items")
    # What was counted in whole files is not true of a part.
    return kept, audit(task, kept, counts if len(kept) == len(items) else {})


def first_of_each_subtask(items: list[Item], limit: int | None) -> list[Item]:
    if limit is None:
        return items
    seen = Counter()
    kept = []
    for item in items:
        if seen[item.subtask] < limit:
            kept.append(item)
        seen[item.subtask] += 1
    return kept


def build(
    task: str,
    number: int | str,
    prompt: str,
    true: list[str],
    false: list[str],
    group: str,
    subtask: str = "",
    best: int = 0,
) -> Item:
    """An item whose choices are the true answers, then the false ones, a space before each."""
    parts = [task, subtask, f"{number:04d}" if isinstance(number, int) else number]
    return Item(
        id="/".join(part for part in parts if part),
        group=group,
        subtask=subtask,
        prompt=prompt,
        choices=tuple(f" {answer}" for answer in (*true, *false)),
        correct=(True,) * len(true) + (False,) * len(false),
        best=best,
    )


def question_group(question: str) -> str:
    """One name for a question wherever it stands: several tasks, answers in any language."""
    return hashlib.sha256(question.strip().encode()).hexdigest()[:12]


def load_prompt(raw: Path, name: str) -> Prompt:
    path = raw / "prompts" / f"{name}.json"
    try:
        return Prompt.from_json(read_text(path))
    except (ValueError, KeyError, TypeError) as error:
        raise StrataError(f"{path} is no prompt ({error!r}); delete it and run again") from None


def read_text(path: Path) -> str:
    """A whole file, a byte-order mark left out. Raises StrataError where it is no UTF-8 text."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise StrataError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise StrataError(f"{path} is not UTF-8 text ({error}); save it as UTF-8") from None


class at:
    """Turns whatever goes wrong with one row into one message that names it."""

    def __init__(self, path: Path | str, row: int, unit: str = "line") -> None:
        self.place = f"{path}, {unit} {row}"

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind, error, trace) -> None:
        if isinstance(error, KeyError):
            raise StrataError(f"{self.place}: the field {error} is missing") from None
        if isinstance(error, (ValueError, TypeError, AttributeError, RecursionError, StrataError)):
            where = isinstance(error, json.JSONDecodeError)
            reason = f"{error.msg}, column {error.colno}" if where else error
            raise StrataError(f"{self.place}: malformed ({reason})") from None


def json_lines(path: Path) -> Iterator[tuple[int, dict]]:
    for number, line in enumerate(io.StringIO(read_text(path))):
        if line.strip():
            with at(path, number + 1):
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ValueError(f"expected an object with fields, found {_shown(row)}")
            yield number, row


def text(value: object) -> str:
    """`value`, if it is a text."""
    if not isinstance(value, str):
        raise ValueError(f"expected a text, found {_shown(value)}")
    value.encode("utf-8")  # JSON may hold half a surrogate pair, which no file can
    return value


def texts(value: object) -> list[str]:
    """`value`, if it is a non-empty list of texts."""
    if not (isinstance(value, list) and value and all(isinstance(v, str) for v in value)):
        raise ValueError(f"expected a list of texts, found {_shown(value)}")
    return [text(v) for v in value]


def _shown(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)[:80]


# Word problems: mps_cal, mps_rea and their translations


def maths_answer(answer: str) -> str:
    return answer.replace("\n", " ").replace("####", "The answer is")


def _maths_path(kind: str, language: str | None = None) -> str:
    stem = {"cal": "gsm8k_cal_mc", "rea": "gsm8k_reason_mc_pure"}[kind]
    ending = f"_{LANGUAGES[language]}" if language else ""
    return f"llama_analysis/{stem}{ending}.json"


def _read_maths(task: str, paths: dict[str, str], raw: Path) -> tuple[list[Item], dict]:
    """`paths`: subtask (a language, or "") -> file."""
    prompt, items, counts = load_prompt(raw, "math"), [], {}
    for subtask, path in paths.items():
        wrong = 0
        for number, row in json_lines(raw / path):
            if number >= MATHS_LINES:
                break
            with at(path, number + 1):
                true, false = (
                    [maths_answer(answer) for answer in texts(row[key])]
                    for key in ("truth_answer", "error")
                )
                question = text(row["question"])
                shown, group = prompt.render(question), question_group(question)
                items.append(build(task, number, shown, true, false, group, subtask))
                wrong += sum(map(wrong_annotation, row["truth_answer"]))
        counts[subtask or "all"] = {"wrong_annotations": wrong}
    return items, counts


def wrong_annotation(answer: str) -> bool:
    """Whether a worked answer holds a false <<a=b>>, b being off by more than a cent."""
    for left, right in re.findall(r"<<([^<>=]+)=([^<>=]+)>>", answer):
        computed, stated = calculation.evaluate(left), calculation.evaluate(right)
        if computed is None or stated is None:
            continue
        if abs(computed - stated) > 0.01:
            return True
    return False


def _maths(kind: str) -> Source:
    path = _maths_path(kind)
    return Source(
        read=lambda task, options, raw: _read_maths(task, {"": path}, raw),
        files=lambda options: ["prompts/math.json", path],
    )


def _cross_lingual(kind: str) -> Source:
    def paths(options: dict) -> dict[str, str]:
        chosen = options.get("languages", list(LANGUAGES))
        return {language: _maths_path(kind, language) for language in chosen}

    return Source(
        read=lambda task, options, raw: _read_maths(task, paths(options), raw),
        files=lambda options: ["prompts/math.json", *paths(options).values()],
    )


# Logic, truthfulness, facts


def _read_reclor(task: str, options: dict, raw: Path) -> tuple[list[Item], dict]:
    path = raw / "llama_analysis" / "reclor_val.json"
    try:
        rows = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise StrataError(f"{path} is not valid JSON ({error}); delete it and run again") from None
    if not isinstance(rows, list):
        raise StrataError(f"{path} holds no list of questions; delete it and run again")
    prompt, items = load_prompt(raw, "logical"), []
    for number, row in enumerate(rows):
        with at(path, number, "row"):
            answers, label = texts(row["answers"]), row["label"]
            if label not in range(len(answers)):
                raise ValueError(f"the label {label!r} names none of the {len(answers)} answers")
            true = answers[label]
            # As the authors' list.remove: of equal answers the first is taken out.
            false = [answer for i, answer in enumerate(answers) if i != answers.index(true)]
            shown = prompt.render(text(row["question"]), text(row["context"]))
            group = question_group(row["context"])
            items.append(build(task, number, shown, [true], false, group))
    return items, {}


def _read_truthfulqa(task: str, options: dict, raw: Path) -> tuple[list[Item], dict]:
    path = raw / "llama_analysis" / "TruthfulQA.csv"
    prompt, items = load_prompt(raw, "truthful"), []
    try:
        rows = list(csv.DictReader(io.StringIO(read_text(path), newline="")))
    except csv.Error as error:
        raise StrataError(f"{path} is not valid CSV ({error}); delete it and run again") from None
    for number, row in enumerate(rows):
        with at(path, number, "row"):
            question = text(row["Question"])
            true = split_answers(text(row["Correct Answers"]))
            false = split_answers(text(row["Incorrect Answers"]))
            best = full_stop(text(row["Best Answer"]).strip())
            if best not in true:
                raise ValueError(f"the best answer {best!r} is not among the correct answers")
            shown, group = prompt.render(question), question_group(question)
            items.append(build(task, number, shown, true, false, group, best=true.index(best)))
    return items, {}


def split_answers(answers: str) -> list[str]:
    return [full_stop(a.strip()) for a in answers.strip().split(";") if a.strip()]


def full_stop(answer: str) -> str:
    return answer if answer.endswith(".") else answer + "."


def _read_lama(task: str, options: dict, raw: Path) -> tuple[list[Item], dict]:
    path = raw / "llama_analysis" / "mlama_short.tsv"
    prompt, items, skipped = load_prompt(raw, "factual"), [], 0
    truths, false_of = defaultdict(set), []
    lines = read_text(path).removesuffix("\n").split("\n")
    for number, line in enumerate(lines[1:]):
        with at(path, number + 2):
            fields = line.split("\t")
            if len(fields) != 4:
                raise ValueError(f"expected 4 fields with tabs between, found {len(fields)}")
            question, answer, candidates, subject = fields
            listed = candidates.strip().split(",")
            if len(listed) < 2:
                skipped += 1
                continue
            # The last candidate is the truth again.
            false = [c.strip() for c in listed[:-1] if c.strip()]
            shown = prompt.render(question)
            items.append(build(task, number, shown, [answer], false, subject.strip()))
            truths[question].add(answer)
            false_of.append((question, answer, false))
    elsewhere = sum(any(f in truths[q] - {a} for f in false) for q, a, false in false_of)
    return items, {"all": {"skipped_rows": skipped, "false_is_true_elsewhere": elsewhere}}


# Generated, and a user's own


def _read_calculation(task: str, options: dict, raw: Path) -> tuple[list[Item], dict]:
    prompt = load_prompt(raw, "math")
    keys = ("kinds", "digits", "operations", "questions", "seed")
    chosen = {key: options[key] for key in keys if key in options}
    items = []
    for subtask, number, problem in calculation.generate(**chosen):
        shown = prompt.render(problem.question)
        group = f"{subtask}/{number:04d}"
        items.append(build(task, number, shown, [problem.truth], problem.wrong, group, subtask))
    return items, {}


def _read_jsonl(task: str, options: dict, raw: Path) -> tuple[list[Item], dict]:
    path, names = Path(options["path"]), options.get("fields", {})
    prompt = Prompt(options.get("instruction", ""), options.get("demonstrations", []))
    items: list[Item] = []
    for number, row in json_lines(path):
        with at(path, number + 1):
            items.append(_jsonl_item(task, number, _Fields(row, names), prompt))
    times = Counter(item.id for item in items)
    if twice := [name for name, count in times.items() if count > 1]:
        raise StrataError(f"{path}: the id {twice[0]!r} comes twice")
    return items, {}


class _Fields:
    """A row of a user's file, read by our names for its fields.

    A field that the user has named must be there (null counts); others are optional in `get`.
    """

    def __init__(self, row: dict, names: dict[str, str]) -> None:
        self.row, self.names = row, names

    def need(self, field: str):
        return self.row[self.names.get(field, field)]

    def get(self, field: str):
        return self.need(field) if field in self.names else self.row.get(field)


def _jsonl_item(task: str, number: int, row: _Fields, prompt: Prompt) -> Item:
    question, choices = text(row.need("question")), texts(row.need("choices"))
    right = [_choice(label, choices) for label in _listed(row.need("label"))]
    if not right:
        raise ValueError("the label names no choice")
    best = row.get("best")
    name = row.get("id")
    group, context = row.get("group"), row.get("context")
    return Item(
        id=f"{task}/{number:04d}" if name is None else str(name),
        group=question_group(question) if group is None else str(group),
        subtask=str(row.get("subtask") or ""),
        prompt=prompt.render(question, None if context is None else text(context)),
        choices=tuple(f" {choice}" for choice in choices),
        correct=tuple(index in right for index in range(len(choices))),
        best=right[0] if best is None else _choice(best, choices),
    )


def _listed(value: object) -> Iterable:
    return value if isinstance(value, list) else [value]


def _choice(label: object, choices: list[str]) -> int:
    """The choice that a label means: an index, the text of a choice, or a letter."""
    if isinstance(label, int) and not isinstance(label, bool) and 0 <= label < len(choices):
        return label
    if isinstance(label, str) and label in choices:
        return choices.index(label)
    if isinstance(label, str) and len(label) == 1:
        letter = ascii_uppercase.find(label.upper())
        if 0 <= letter < len(choices):
            return letter
    raise ValueError(
        f"the label {label!r} names none of the {len(choices)} choices; it may be an index from "
        "0, a letter from A, or the text of a choice"
    )


def _read_micro(task: str, options: dict, raw: Path) -> tuple[list[Item], dict]:
    keys = ("questions", "seed", "languages")
    chosen = {key: options[key] for key in keys if key in options}
    made = microworld.items(options["source"], chosen)
    return [replace(item, id=task + item.id.removeprefix(options["source"])) for item in made], {}


SOURCES: dict[str, Source] = {
    "calculation": Source(_read_calculation, lambda options: ["prompts/math.json"]),
    "mps_cal": _maths("cal"),
    "mps_rea": _maths("rea"),
    "xmps_cal": _cross_lingual("cal"),
    "xmps_rea": _cross_lingual("rea"),
    "reclor": Source(
        _read_reclor,
        lambda options: ["prompts/logical.json", "llama_analysis/reclor_val.json"],
    ),
    "truthfulqa": Source(
        _read_truthfulqa,
        lambda options: ["prompts/truthful.json", "llama_analysis/TruthfulQA.csv"],
    ),
    "lama": Source(
        _read_lama,
        lambda options: ["prompts/factual.json", "llama_analysis/mlama_short.tsv"],
    ),
    "jsonl": Source(_read_jsonl, own=lambda options: [options["path"]]),
    **{name: Source(_read_micro) for name in microworld.TASKS},
}
