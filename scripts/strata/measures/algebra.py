"""Linear algebra of a layer's large arrays, rows x features and features x features: by numpy and
scipy on the CPU, or by torch on a card (on_card.py).

An algebra's own arrays are what `put` makes of numpy's and `get` makes numpy's again. They have the
operators and methods that numpy's arrays and torch's tensors share; what the two do not share is
asked of the algebra. What is small (means, targets, weights) goes from one to the other as numpy's.
"""

from typing import Any, Protocol

import numpy as np
from scipy.linalg import cho_solve, cholesky
from scipy.linalg.lapack import dtrtrs

Own = Any  # an array or tensor of the algebra's


class Algebra(Protocol):
    name: str  # of the card; "cpu" where there is none

    def put(self, array: np.ndarray | Own) -> Own: ...

    def get(self, own: Own) -> np.ndarray: ...

    def copy(self, own: Own) -> Own: ...

    def single(self, own: Own) -> Own:
        """In float32."""

    def double(self, own: Own) -> Own:
        """In float64."""

    def squares(self, own: Own) -> Own:
        """(n, d) -> (d,) sums of squares."""

    def factor(self, square: Own, ridge: float, single: bool = False) -> Own:
        """(k, k) lower Cholesky factor, float64, of a symmetric matrix with `ridge` more on its
        diagonal; rounded to float32 before where `single`. Raises np.linalg.LinAlgError where there
        is none."""

    def solved(self, low: Own, wanted: Own) -> Own:
        """(k, t): x of low low' x = wanted."""

    def turned(self, low: Own, wanted: Own, transposed: bool = False) -> Own:
        """(k, t): x of low x = wanted, or of low' x = wanted."""

    def eigen(self, symmetric: Own) -> tuple[np.ndarray, Own]:
        """(k,) eigenvalues, ascending, and (k, k) their vectors."""


class Numpy:
    name = "cpu"

    def put(self, array: np.ndarray) -> np.ndarray:
        return array

    get = put

    def copy(self, own: np.ndarray) -> np.ndarray:
        return own.copy()

    def single(self, own: np.ndarray) -> np.ndarray:
        return own.astype(np.float32)

    def double(self, own: np.ndarray) -> np.ndarray:
        return own.astype(float, copy=False)

    def squares(self, own: np.ndarray) -> np.ndarray:
        return np.einsum("nd,nd->d", own, own)

    def factor(self, square: np.ndarray, ridge: float, single: bool = False) -> np.ndarray:
        bent = square.copy()
        bent.flat[:: len(bent) + 1] += ridge
        if single:
            bent = bent.astype(np.float32)
        # Of a symmetric matrix the transpose is the same, and lies as LAPACK wants it.
        low = cholesky(bent.T, lower=True, overwrite_a=True, check_finite=False)
        return low.astype(float) if single else low

    def solved(self, low: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        return cho_solve((low, True), wanted, check_finite=False)

    def turned(self, low: np.ndarray, wanted: np.ndarray, transposed: bool = False) -> np.ndarray:
        return dtrtrs(low, wanted, lower=1, trans=int(transposed))[0]

    def eigen(self, symmetric: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.linalg.eigh(symmetric)


NUMPY = Numpy()
