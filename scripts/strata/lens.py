"""What the unembedding makes of a residual stream: log-probabilities of given next tokens.

reference: the paper's code. No final norm before the last layer; log-softmax in the model's
    dtype and the sum over a choice rounded to it, so that bfloat16's ties come back.
raw: no final norm at any layer, float32.
normed: final norm at every layer, float32: the logit lens. At the last layer, the model's own
    output.
"""

import numpy as np
import torch

LENSES = ("reference", "raw", "normed")


class Unembedding:
    """Final norm and head of a model.

    weight: (vocabulary, d_model), bias: (vocabulary,) or None, softcap: logits are squashed to
    softcap * tanh(logits / softcap) where the architecture does so.
    norm and norm32: the final norm in the model's dtype and in float32. block: logits held at once
    (default: as suits the device).
    """

    def __init__(self, weight, bias, norm, norm32, softcap=None, block=None) -> None:
        self.weight, self.bias, self.softcap = weight, bias, softcap
        self.norm, self.norm32 = norm, norm32
        # On a CPU a block's logits should stay in its caches, but few rows read the weights often.
        least, size = (512, 1 << 21) if weight.device.type == "cpu" else (1, 1 << 25)
        self.rows = max(1, block // len(weight)) if block else max(least, size // len(weight))

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """(n, d_model), normed or not -> (n, vocabulary), in the dtype of `hidden`."""
        bias = None if self.bias is None else self.bias.to(hidden.dtype)
        logits = torch.nn.functional.linear(hidden, self.weight.to(hidden.dtype), bias)
        if self.softcap is not None:
            logits = torch.tanh(logits / self.softcap) * self.softcap
        return logits

    def log_probabilities(self, hidden, source, token, lens: str, last: bool) -> torch.Tensor:
        """Log-probability of `token[e]` after the position of row `source[e]` of `hidden`.

        hidden: (n, d_model) residual stream of the distinct predicting positions.
        source: (e,) ascending row numbers; token: (e,) ids. last: whether this is the last layer.
        Returns (e,) float32, for the reference lens rounded to the model's dtype.
        """
        result = torch.empty(len(token), dtype=torch.float32, device=hidden.device)
        for first in range(0, len(hidden), self.rows):
            rows = hidden[first : first + self.rows]
            wanted = slice(*torch.searchsorted(source, _bounds(source, first, len(rows))).tolist())
            logits = self.logits(self._view(rows, lens, last))
            local = source[wanted] - first
            result[wanted] = logits.log_softmax(-1)[local, token[wanted]].float()
        return result

    def _view(self, hidden: torch.Tensor, lens: str, last: bool) -> torch.Tensor:
        if lens == "normed":
            return self.norm32(hidden.float())
        if lens == "raw":
            return hidden.float()
        return self.norm(hidden) if last else hidden


def _bounds(like: torch.Tensor, first: int, count: int) -> torch.Tensor:
    return torch.tensor([first, first + count], dtype=like.dtype, device=like.device)


def naive_log_probabilities(
    unembedding: Unembedding, hidden, source, token, lens: str, last: bool
) -> torch.Tensor:
    """The twin of Unembedding.log_probabilities: every position's whole log-softmax."""
    view = {"reference": hidden, "raw": hidden.float(), "normed": hidden.float()}[lens]
    if lens == "normed":
        view = unembedding.norm32(view)
    elif lens == "reference" and last:
        view = unembedding.norm(view)
    return torch.log_softmax(unembedding.logits(view), -1).float()[source, token]


def sum_paths(values: np.ndarray, offsets: np.ndarray, dtype: str) -> np.ndarray:
    """Sums log-probabilities over each choice's tokens: (tokens,) -> (choices,) float32.

    `dtype` "bfloat16" rounds each sum to it, as a sum in that dtype does (its accumulator is
    wider); "float32" leaves it.
    """
    sums = np.add.reduceat(values.astype(np.float64), offsets[:-1]).astype(np.float32)
    if dtype == "bfloat16":
        return torch.from_numpy(sums).bfloat16().float().numpy()
    return sums
