"""Linear algebra of probes by torch, on a card. See algebra.py, whose Numpy it is the other of."""

import numpy as np
import torch


class Torch:
    def __init__(self, device: torch.device | str, name: str) -> None:
        """name: the card's, as results say it."""
        self.device, self.name = torch.device(device), name
        # torch loads what CUDA factors by at its first use, and fails where that is in two threads
        # at once (pytorch/pytorch#90613).
        torch.linalg.cholesky_ex(torch.ones(1, 1, device=self.device))

    def put(self, array: np.ndarray | torch.Tensor) -> torch.Tensor:
        if not torch.is_tensor(array):
            array = torch.from_numpy(np.require(array, requirements=("C", "W")))
        return array.to(self.device)

    def get(self, own: torch.Tensor) -> np.ndarray:
        return own.cpu().numpy()

    def copy(self, own: torch.Tensor) -> torch.Tensor:
        return own.clone()

    def single(self, own: torch.Tensor) -> torch.Tensor:
        return own.float()

    def double(self, own: torch.Tensor) -> torch.Tensor:
        return own.double()

    def squares(self, own: torch.Tensor) -> torch.Tensor:
        return (own * own).sum(0)

    def factor(self, square: torch.Tensor, ridge: float, single: bool = False) -> torch.Tensor:
        bent = square.clone()
        bent.diagonal().add_(ridge)
        low, failed = torch.linalg.cholesky_ex(bent.float() if single else bent)
        if failed.item():
            raise np.linalg.LinAlgError(f"minor {failed.item()} is not positive definite")
        return low.double()

    def solved(self, low: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return torch.cholesky_solve(wanted, low)

    def turned(
        self, low: torch.Tensor, wanted: torch.Tensor, transposed: bool = False
    ) -> torch.Tensor:
        square = low.T if transposed else low
        return torch.linalg.solve_triangular(square, wanted, upper=transposed)

    def eigen(self, symmetric: torch.Tensor) -> tuple[np.ndarray, torch.Tensor]:
        values, vectors = torch.linalg.eigh(symmetric)
        return self.get(values), vectors
