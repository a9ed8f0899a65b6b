"""The few-shot prompt, in the paper's form, and how it is read from the authors' scripts."""

import ast
import json
from dataclasses import dataclass, field

from strata.errors import StrataError


@dataclass(frozen=True)
class Prompt:
    """instruction and demonstrations; a demonstration has question, answer and maybe context."""

    instruction: str = ""
    demonstrations: list[dict[str, str]] = field(default_factory=list)

    @classmethod
    def from_json(cls, text: str) -> "Prompt":
        content = json.loads(text)
        return cls(content["instruction"], content["demonstrations"])

    def render(self, question: str, context: str | None = None) -> str:
        """The text in front of a choice; a choice is a space and an answer."""
        return self.head() + _question(question, context)

    def head(self) -> str:
        """What stands before a question."""
        head = f"{self.instruction}\n\n" if self.instruction else ""
        shown = "".join(
            f"{_question(d['question'], d.get('context'))} {d['answer']}\n\n"
            for d in self.demonstrations
        )
        return head + shown


def _question(question: str, context: str | None) -> str:
    return (f"P: {context}\n" if context is not None else "") + f"Q: {question}\nA:"


def read_script(script: str, source: str) -> str:
    """Instruction and demonstrations of an evaluation script as JSON, read and never executed.

    Looks into `create_demo_text` for `context.append(text)`, `question.append(text)`,
    `answer.append(text)` and the literal that `demo_text` begins with. Raises StrataError if the
    script is not of that form.
    """
    try:
        functions = ast.walk(ast.parse(script))
        body = next(
            node
            for node in functions
            if isinstance(node, ast.FunctionDef) and node.name == "create_demo_text"
        )
    except (SyntaxError, StopIteration):
        raise StrataError(f"{source}: no script with a function create_demo_text") from None
    try:
        instruction, columns = _literals(body)
    except ValueError:
        instruction, columns = None, {}
    lengths = {len(texts) for texts in columns.values()}
    if not instruction or not {"question", "answer"} <= set(columns) or len(lengths) != 1:
        raise StrataError(f"{source}: create_demo_text is not of the known form")
    content = {
        "source": source,
        "instruction": instruction.rstrip("\n"),
        "demonstrations": [
            dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)
        ],
    }
    return json.dumps(content, indent=1, ensure_ascii=False)


def _literals(body: ast.FunctionDef) -> tuple[str | None, dict[str, list[str]]]:
    """The instruction, and what is appended to each list; ValueError where it is no literal."""
    instruction = None
    columns: dict[str, list[str]] = {"context": [], "question": [], "answer": []}
    for node in ast.walk(body):
        if isinstance(node, ast.Call) and (name := _appended(node)) in columns:
            columns[name].append(ast.literal_eval(node.args[0]))
        elif isinstance(node, ast.Assign) and _target(node) == "demo_text":
            literals = (n.value for n in ast.walk(node.value) if isinstance(n, ast.Constant))
            instruction = next((text for text in literals if isinstance(text, str)), None)
    return instruction, {name: texts for name, texts in columns.items() if texts}


def _appended(call: ast.Call) -> str | None:
    """`name` of a call `name.append(...)`."""
    function = call.func
    if isinstance(function, ast.Attribute) and function.attr == "append":
        return getattr(function.value, "id", None)
    return None


def _target(assignment: ast.Assign) -> str | None:
    return getattr(assignment.targets[0], "id", None)
