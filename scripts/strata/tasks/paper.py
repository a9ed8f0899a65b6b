"""The readers of the paper's tasks: of the authors' files, and of calculation, which is generated.

Each keeps the rules of the authors' scripts (nuochenpku/LLaMA_Analysis at f968fd9), oddities
included; what is odd is counted by the audit, never repaired. They raise StrataError where a file
cannot be read or a row is malformed. Standard library only.
"""

import csv
import io
import json
import re
from pathlib import Path

from strata.errors import StrataError
from strata.items import Item
from strata.names import TRANSLATIONS
from strata.tasks import calculation
from strata.tasks.reading import (
    at,
    build,
    json_lines,
    load_prompt,
    question_group,
    read_text,
    text,
    texts,
)

MATHS_LINES = 1000  # the authors' scripts read no further

# Word problems: mps_cal, mps_rea and their translations


def maths_answer(answer: str) -> str:
    """A worked answer on one line, as the authors' script shows it."""
    return answer.replace("\n", " ").replace("####", "The answer is")


def maths_path(kind: str, language: str | None = None) -> str:
    """The file of word problems, below the raw folder. kind: cal or rea; language: one of
    TRANSLATIONS, or None for English."""
    stem = {"cal": "gsm8k_cal_mc", "rea": "gsm8k_reason_mc_pure"}[kind]
    ending = f"_{TRANSLATIONS[language]}" if language else ""
    return f"llama_analysis/{stem}{ending}.json"


def read_maths(task: str, paths: dict[str, str], raw: Path) -> tuple[list[Item], dict]:
    """Word problems. `paths`: subtask (a language, or "") -> file. Counts wrong annotations."""
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
                items.append(build(task, number, shown, true, false, group, subtask=subtask))
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


# Logic, truthfulness, facts


def read_reclor(task: str, options: dict, raw: Path) -> tuple[list[Item], dict]:
    """Logic: a context, a question and its answers."""
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


def read_truthfulqa(task: str, options: dict, raw: Path) -> tuple[list[Item], dict]:
    """Truthfulness: several true answers, of which one is the best."""
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
    """Answers with semicolons between, each with a full stop."""
    return [full_stop(a.strip()) for a in answers.strip().split(";") if a.strip()]


def full_stop(answer: str) -> str:
    return answer if answer.endswith(".") else answer + "."


def read_lama(task: str, options: dict, raw: Path) -> tuple[list[Item], dict]:
    """Facts. Counts rows without false answers, skipped."""
    path = raw / "llama_analysis" / "mlama_short.tsv"
    prompt, items, skipped = load_prompt(raw, "factual"), [], 0
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
            names = subject.strip(), answer.strip()
            items.append(build(task, number, shown, [answer], false, *names))
    return items, {"all": {"skipped_rows": skipped}}


# Generated


def read_calculation(task: str, options: dict, raw: Path) -> tuple[list[Item], dict]:
    """Generated arithmetic (calculation.py) under the authors' prompt for mathematics."""
    prompt = load_prompt(raw, "math")
    keys = ("kinds", "digits", "operations", "questions", "seed")
    chosen = {key: options[key] for key in keys if key in options}
    items = []
    for subtask, number, problem in calculation.generate(**chosen):
        shown = prompt.render(problem.question)
        group = f"{subtask}/{number:04d}"
        answers = [problem.truth], problem.wrong
        items.append(build(task, number, shown, *answers, group, subtask=subtask))
    return items, {}
