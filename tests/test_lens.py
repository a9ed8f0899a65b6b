import numpy as np
import pytest
import torch

from strata.models.lens import Unembedding, Wanted, naive_log_probabilities, sum_paths
from strata.names import LENSES, REFERENCE

SHAPE = 40, 12


def make(softcap=None, bias=False, dtype=torch.float32, block=(7, 13), **scales):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(SHAPE, generator=generator).to(dtype)
    scale = torch.rand(SHAPE[1], generator=generator) + 0.5

    def norm_in(kind):
        return lambda x: torch.nn.functional.rms_norm(x, SHAPE[1:], scale.to(kind), 1e-5)

    extra = torch.randn(SHAPE[0], generator=generator).to(dtype) if bias else None
    norms = norm_in(dtype), norm_in(torch.float32)
    return Unembedding(weight, extra, *norms, softcap, block, **scales)


@pytest.mark.parametrize("lens", LENSES)
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("options", [{}, {"softcap": 3.0, "bias": True}])
def test_blocks_equal_the_whole_log_softmax(lens, last, dtype, options):
    torch.manual_seed(0)
    unembedding = make(dtype=dtype, **options)
    rng = np.random.default_rng(0)
    hidden = (3 * torch.randn(40, SHAPE[1])).to(dtype)
    positions = np.sort(rng.permutation(40)[:23])
    source = np.sort(rng.integers(0, 23, 50))  # some positions predict nothing, some many tokens
    wanted = Wanted(positions, source, rng.integers(0, SHAPE[0], 50))
    fast = torch.empty(50)
    for block in unembedding.blocks(wanted):
        rows = hidden[block.positions]
        fast[block.place] = unembedding.log_probabilities(rows, block, lens, last)
    slow = naive_log_probabilities(unembedding, hidden, wanted, lens, last)
    torch.testing.assert_close(fast, slow, atol=1e-5, rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_logits_are_scaled_as_the_models_are_and_squashed_after(dtype):
    """In the dtype of the product, a step at a time: what bfloat16 rounds is rounded there."""
    hidden = torch.randn(5, SHAPE[1]).to(dtype)
    plain, scaled = make(dtype=dtype), make(3.0, dtype=dtype, multiplier=1.7, divisor=0.6)
    whole = slice(0, SHAPE[0])
    for lens in LENSES:
        logits = plain.logits(hidden, whole, lens).to(dtype if lens == REFERENCE else torch.float32)
        own = torch.tanh(logits * 1.7 / 0.6 / 3.0) * 3.0
        assert torch.equal(scaled.logits(hidden, whole, lens), own.float())


def test_a_float32_normed_stream_split_for_bfloat16_units_keeps_16_bits():
    # The arithmetic of the CUDA path: two bfloat16 products, added up in float32.
    hidden, weight = torch.randn(20, 64), torch.randn(50, 64).bfloat16()
    high = hidden.bfloat16()
    low = (hidden - high).bfloat16()
    split = high.double() @ weight.double().T + low.double() @ weight.double().T
    exact = hidden.double() @ weight.double().T
    scale = hidden.abs().double() @ weight.abs().double().T
    assert ((split - exact).abs() / scale).max() < 2**-17


def test_sums_over_choices_round_to_bfloat16_only_when_asked():
    values = np.array([-60.1, -0.3, -5.0, -1.0], np.float32)
    offsets = np.array([0, 2, 4])
    np.testing.assert_allclose(sum_paths(values, offsets, "float32"), [-60.4, -6.0], rtol=1e-6)
    # bfloat16 steps are 0.25 between 32 and 64
    np.testing.assert_array_equal(sum_paths(values, offsets, "bfloat16"), [-60.5, -6.0])


def test_bfloat16_sums_are_torchs_own():
    values = torch.randn(300).bfloat16() * 5
    ours = sum_paths(values.float().numpy(), np.array([0, 300]), "bfloat16")
    assert ours[0] == values.sum().float().item()
