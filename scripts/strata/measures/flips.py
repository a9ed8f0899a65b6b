"""Signs of groups flipped: if nothing differs, a group's paired differences might as well have had
the other sign (Fisher's randomisation test; of groups Canay, Romano and Shaikh 2017).
"""

from collections.abc import Iterator

import numpy as np

FLIPS = 9999  # of signs drawn, where all can't be gone through
BLOCK = 1000
# What summing fractions leaves where they cancel out, or are all the same.
ROUNDING = 1e-12


def exhausted(groups: int, most: int = FLIPS) -> bool:
    """Whether there are no more than `most` flips of so many groups, so that all are gone through
    and the one observed is among them."""
    return 2**groups <= most


def signs(groups: int, most: int = FLIPS) -> Iterator[np.ndarray]:
    """(b, groups) of +1 and -1, block by block: every flip where there are no more than `most`,
    else `most` seeded ones."""
    every, rng = exhausted(groups, most), np.random.default_rng(0)
    count = 2**groups if every else most
    for start in range(0, count, BLOCK):
        numbers = np.arange(start, min(start + BLOCK, count))
        if every:
            positive = numbers[:, None] >> np.arange(groups) & 1
        else:
            positive = rng.integers(0, 2, (len(numbers), groups), np.int8)
        yield 2 * positive - 1


def sign_flip(totals: np.ndarray) -> float:
    """Two-sided p of a sum of (G,) independent totals against 0, if each might as well have had
    the other sign. Sums as far from 0 as the one observed count half (Lancaster's mid-p, 1961; of
    pairs Fagerland, Lydersen and Laake 2013), without which it errs too rarely. 1 where nothing
    differs.

    Of whole numbers, as accuracy's are, it is exact for any number of groups: the sum's
    distribution is the Fourier transform of a product of cosines. Of others it is exact for few
    groups, and estimated from seeded flips for many. scipy's permutation_test does the latter, but
    takes sums for different that are the same but for rounding.
    """
    sizes = np.abs(totals[np.abs(totals) > ROUNDING])
    if not len(sizes):
        return 1.0
    if not np.array_equal(sizes, sizes.round()):
        return _flipped(sizes, abs(totals.sum()))
    reach = int(sizes.sum())
    angle = 2 * np.pi * np.arange(reach + 1) / (2 * reach + 1)
    kinds, counts = np.unique(sizes, return_counts=True)
    waves = np.prod([np.cos(k * angle) ** c for k, c in zip(kinds, counts, strict=True)], axis=0)
    share = np.fft.irfft(waves, 2 * reach + 1)  # of the sums 0, 1 .. reach, -reach .. -1
    least = round(abs(float(totals.sum())))
    beyond = share[least + 1 : 2 * reach + 1 - least].sum()
    p = beyond + (share[least] if least else share[0] / 2)
    return float(np.clip(p, 2.0 ** -len(sizes), 1))


def _flipped(sizes: np.ndarray, observed: float) -> float:
    """The share of sums of (G,) sizes with signs that are further from 0 than the one observed, and
    half of those that are as far."""
    reached, count, rounding = 0.0, 0, 1e-9 * sizes.sum()
    for block in signs(len(sizes)):
        sums = np.abs(block @ sizes) - observed
        reached += (sums > rounding).sum() + (np.abs(sums) <= rounding).sum() / 2
        count += len(block)
    return float(reached / count if exhausted(len(sizes)) else (reached + 0.5) / (count + 1))
