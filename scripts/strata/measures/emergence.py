"""At which layer an ability emerges."""

import pandas as pd


def emergence_layers(rows: pd.DataFrame, share: float = 0.9) -> pd.DataFrame:
    """Where each task first reaches `share` of its best value, by reader, model and task.

    Takes rows as `readings` gives them. Columns: reader, model, task, layer, value (there), best,
    best_layer, layers. layer and value are empty where even the best is not above chance by its
    interval, or nothing is defined.
    """
    found = []
    for (reader, model, task), part in rows.groupby(["reader", "model", "task"], sort=False):
        layers = int(part["layer"].max())
        part = part.dropna(subset="value").sort_values("layer")
        row = {"reader": reader, "model": model, "task": task, "layers": layers}
        if len(part):
            best = part.loc[part["value"].idxmax()]
            row |= {"best": best["value"], "best_layer": int(best["layer"])}
            if best["ci_low"] > best["chance"]:
                first = part[part["value"] >= share * best["value"] - 1e-12].iloc[0]
                row |= {"layer": int(first["layer"]), "value": first["value"]}
        found.append(row)
    order = ["reader", "model", "task", "layer", "value", "best", "best_layer", "layers"]
    whole_numbers = {"layer": "Int64", "best_layer": "Int64"}
    return pd.DataFrame(found).reindex(columns=order).astype(whole_numbers)
