"""transformers' own forward pass, whole and plain: what the fast path is held to, by tests on every
layer and by the self-check on the last.
"""

import copy
from collections.abc import Sequence

import numpy as np
import torch

from strata.items import Item
from strata.models.families import FAMILIES
from strata.names import NORMED, REFERENCE


def forward(lm, ids: torch.Tensor, kept: int = 0) -> tuple[list[torch.Tensor], torch.Tensor]:
    """ids: (1, n). Residual stream after the embedding and each block, caught before the final
    norm, each (n, d_model); and the model's own output at the last `kept` positions (0: all)."""
    layers = getattr(backbone(lm), FAMILIES[lm.config.model_type].layers)
    caught = []
    hooks = [layers[0].register_forward_pre_hook(lambda _, args: caught.append(args[0]))]
    hooks += [layer.register_forward_hook(lambda *args: caught.append(args[2])) for layer in layers]
    logits = lm(ids, use_cache=False, logits_to_keep=kept).logits[0]
    for hook in hooks:
        hook.remove()
    return [value[0] if value.dim() == 3 else value for value in map(_first, caught)], logits


def backbone(lm):
    """transformers' model without its head."""
    return lm.get_submodule(FAMILIES[lm.config.model_type].backbone)


def _first(value) -> torch.Tensor:
    return value[0] if isinstance(value, tuple) else value


def log_softmax(lm, states: torch.Tensor, lens: str, output=None) -> torch.Tensor:
    """(n, d_model) residual stream -> (n, vocabulary) log-probabilities, whole and plain. output:
    at the last layer, the model's own logits, which are those of the reference lens, and in float32
    of the normed one."""
    last = output is not None
    if last and (lens == REFERENCE or (lens == NORMED and output.dtype == torch.float32)):
        return output.float().log_softmax(-1).to(output.dtype)
    states = states if lens == REFERENCE else states.float()
    if lens == NORMED:
        norm = getattr(backbone(lm), FAMILIES[lm.config.model_type].norm)
        states = copy.deepcopy(norm).float()(states)
    logits = head(lm, states)
    return logits.float().log_softmax(-1).to(logits.dtype)


def head(lm, states: torch.Tensor) -> torch.Tensor:
    """(n, d_model) -> (n, vocabulary) logits as transformers makes them of its backbone's output,
    scaled and squashed where it does so, in the dtype of `states`."""
    from transformers.modeling_outputs import BaseModelOutputWithPast

    module = lm.get_output_embeddings()
    name = next(name for name, own in lm.named_modules() if own is module)
    cast = {f"{name}.{key}": own.to(states.dtype) for key, own in module.state_dict().items()}
    known = BaseModelOutputWithPast(last_hidden_state=states[None])
    known.router_logits = known.cross_attentions = None  # what some families hand on
    whole = backbone(lm)
    whole.forward = lambda *_, **__: known
    try:
        ids = torch.zeros(1, len(states), dtype=torch.long, device=states.device)
        return torch.func.functional_call(lm, cast, (ids,), tie_weights=False).logits[0]
    finally:
        del whole.forward


@torch.inference_mode()
def naive_logprob(lm, tokenizer, item: Item, lenses: Sequence[str]) -> dict[str, np.ndarray]:
    """The twin of extract for one item: one forward pass of transformers a choice, the head on
    every position. `lm` is a whole AutoModelForCausalLM. Lens -> (layers + 1, choices)."""
    result: dict[str, list[list[float]]] = {lens: [] for lens in lenses}
    for given, text in zip(item.given, item.texts, strict=True):
        start = len(tokenizer(given)["input_ids"])
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        hidden, logits = forward(lm, ids)
        for lens in lenses:
            column = []
            for layer, states in enumerate(hidden):
                output = logits if layer == len(hidden) - 1 else None
                found = log_softmax(lm, states, lens, output)[start - 1 : -1]
                column.append(found[torch.arange(len(found)), ids[0, start:]].sum().item())
            result[lens].append(column)
    return {lens: np.array(columns, np.float32).T for lens, columns in result.items()}
