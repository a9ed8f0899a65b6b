"""The embedded world: a small closed world that teaches and probes the paper's abilities.

One seeded generator writes both the text the embedded models are trained on and the items they
are probed with. Calculations, word problems and logic are probed with combinations that training
never shows, facts in wordings it never shows.
"""

import random
from collections.abc import Callable, Sequence

from strata.errors import StrataError
from strata.items import Item
from strata.tasks.microworld import arithmetic, facts, forms, logic, problems
from strata.tasks.microworld.forms import Question
from strata.tasks.microworld.languages import ENGLISH, LANGUAGES, Language

TASKS = (
    "micro_calculation",
    "micro_mps_cal",
    "micro_mps_rea",
    "micro_xmps_cal",
    "micro_xmps_rea",
    "micro_logical",
    "micro_truthfulness",
    "micro_factual",
)
DEFAULTS = {"questions": 250, "seed": 0, "languages": tuple(LANGUAGES)}


def items(task: str, options: dict | None = None) -> list[Item]:
    """The probing items of a task.

    options: questions (items to make; cross-lingual tasks spread them over the languages), seed,
    languages (of the cross-lingual tasks). Raises StrataError for an unknown task, option or
    language, and where the world holds fewer distinct questions than are asked for.
    """
    settings = _settings(task, options or {})
    rng = random.Random(f"{task} {settings['seed']}")
    questions = _collect(task, rng, settings)
    solved = {name: _solved(task, name) for name in {question.subtask for question in questions}}
    places = list(range(len(questions)))
    rng.shuffle(places)
    return [
        _item(f"{task}/{number}", question, *solved[question.subtask], rng, place)
        for number, (question, place) in enumerate(zip(questions, places, strict=True))
    ]


def _settings(task: str, options: dict) -> dict:
    if task not in TASKS:
        raise StrataError(f"the microworld has no task {task!r}; it has {', '.join(TASKS)}")
    unknown = sorted(set(options) - set(DEFAULTS))
    if unknown:
        raise StrataError(
            f"{task}: unknown option {unknown[0]!r}; the options are {', '.join(DEFAULTS)}"
        )
    settings = DEFAULTS | options
    if type(settings["questions"]) is not int or settings["questions"] < 1:
        raise StrataError(
            f"{task}: questions is {settings['questions']!r}; give a number from 1 on"
        )
    for name in settings["languages"]:
        if name not in LANGUAGES:
            raise StrataError(f"{task}: no language {name!r}; there are {', '.join(LANGUAGES)}")
    return settings


def _collect(task: str, rng: random.Random, settings: dict) -> list[Question]:
    """Distinct questions, evenly from the task's cells (operations, families, facts)."""
    cells, draw = _source(task, rng, settings["languages"])
    share = len(settings["languages"]) if task.startswith("micro_x") else 1
    questions: list[Question] = []
    seen: set[str] = set()
    for number in range(max(1, settings["questions"] // share)):
        cell = cells[number % len(cells)]
        for _ in range(1000):
            drawn = draw(cell)
            if drawn[0].text not in seen:
                break
        else:
            raise StrataError(
                f"{task}: the world holds no more than {len(questions)} distinct questions of the "
                f"{settings['questions']} asked for; lower the option questions"
            )
        seen.add(drawn[0].text)
        questions.extend(drawn)
    return questions


def _source(
    task: str, rng: random.Random, languages: Sequence[str]
) -> tuple[Sequence, Callable[..., list[Question]]]:
    """The cells of a task, and what draws from a cell the same question in each language."""
    if task == "micro_calculation":
        return arithmetic.CELLS, lambda cell: [arithmetic.calculation_question(rng, *cell)]
    if task == "micro_logical":
        return logic.FAMILIES, lambda family: [logic.deduction_question(rng, family)]
    if task == "micro_factual":
        return _untold(task, facts.fact_cells(rng)), lambda cell: [facts.fact_question(rng, *cell)]
    if task == "micro_truthfulness":
        cells = _untold(task, facts.truth_cells(rng))
        return cells, lambda cell: [facts.truth_question(rng, *cell)]
    wrong = "calculation" if task.endswith("_cal") else "reasoning"
    told = {name: LANGUAGES[name] for name in languages} if "_x" in task else {"": ENGLISH}
    return list(problems.FAMILIES), lambda family: problems.problem_question(
        rng, family, wrong, told
    )


def _untold(task: str, cells: list[tuple]) -> list[tuple]:
    """The cells whose subject no demonstration is about."""
    told = " ".join(question for question, _ in _solved(task, "")[1])
    return [cell for cell in cells if cell[1] not in told]


def _solved(task: str, subtask: str) -> tuple[str, list[tuple[str, str]]]:
    """Instruction and demonstrations, the same for all of a task (in one language)."""
    rng = random.Random(f"{task} demonstrations 5")
    if task == "micro_calculation":
        return arithmetic.INSTRUCTION, [arithmetic.calculation(rng) for _ in range(4)]
    if task == "micro_logical":
        return logic.INSTRUCTION, logic.demonstrations(rng)
    if task == "micro_factual":
        return facts.FACTUAL, [facts.fact(rng) for _ in range(4)]
    if task == "micro_truthfulness":
        return facts.TRUTHFUL, [facts.truth(rng) for _ in range(3)]
    language: Language = LANGUAGES[subtask] if subtask else ENGLISH
    return language.instruction, [problems.problem(rng, language)]


def _item(name, question: Question, instruction, demonstrations, rng, place: int) -> Item:
    """Shuffles the choices; the best one's place is given, so that all places come equally."""
    order = [index for index in range(len(question.choices)) if index != question.best]
    rng.shuffle(order)
    best = place % len(question.choices)
    order.insert(best, question.best)
    return Item(
        id=name,
        group=question.group,
        subtask=question.subtask,
        prompt=forms.prompt(instruction, demonstrations, question.text),
        choices=tuple(f" {question.choices[index]}" for index in order),
        correct=tuple(question.correct[index] for index in order),
        best=best,
        partner=question.partner,
    )
