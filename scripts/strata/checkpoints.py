"""A training run in the study file: one entry that stands for a model at each of its steps."""

from strata.errors import StrataError


def checkpoints(name: str, entry: dict) -> tuple[dict[str, dict], dict[str, dict]]:
    """The models an entry stands for, by name: one, or a checkpoint for each of its `steps`; and
    of each checkpoint run, label of the run, and step."""
    if "steps" not in entry:
        return {name: entry}, {}
    shared, label = {**entry}, entry.get("label", name)
    steps = sorted(shared.pop("steps"))
    where = "path" if "path" in entry else "revision"
    if "{step}" not in entry.get(where, ""):
        raise StrataError(
            f"config key models.{name}.steps: say where the checkpoint of a step is, by {{step}} "
            f"in `{where}:`"
        )
    made, training = {}, {}
    for step in steps:
        place = entry[where].replace("{step}", str(step))
        model = f"{name}-step{step}"
        made[model] = {**shared, where: place, "label": f"{label}, step {step}"}
        training[model] = {"run": name, "label": label, "step": step}
    return made, training
