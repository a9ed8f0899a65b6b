import numpy as np
import pytest
import torch

from strata.lens import LENSES, Unembedding, naive_log_probabilities, sum_paths

SHAPE = 40, 12


def make(softcap=None, bias=False, dtype=torch.float32, block=200):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(SHAPE, generator=generator).to(dtype)
    scale = torch.rand(SHAPE[1], generator=generator) + 0.5

    def norm_in(kind):
        return lambda x: torch.nn.functional.rms_norm(x, SHAPE[1:], scale.to(kind), 1e-5)

    extra = torch.randn(SHAPE[0], generator=generator).to(dtype) if bias else None
    return Unembedding(weight, extra, norm_in(dtype), norm_in(torch.float32), softcap, block)


@pytest.mark.parametrize("lens", LENSES)
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("options", [{}, {"softcap": 3.0, "bias": True}])
def test_blocks_equal_the_whole_log_softmax(lens, last, dtype, options):
    unembedding = make(dtype=dtype, **options)
    hidden = (3 * torch.randn(23, SHAPE[1])).to(dtype)
    source = torch.tensor(sorted(np.random.default_rng(0).integers(0, 23, 50)))
    token = torch.randint(0, SHAPE[0], (50,))
    fast = unembedding.log_probabilities(hidden, source, token, lens, last)
    slow = naive_log_probabilities(unembedding, hidden, source, token, lens, last)
    torch.testing.assert_close(fast, slow, atol=2e-6, rtol=1e-6)


def test_positions_that_predict_nothing_are_passed_over():
    unembedding = make(block=SHAPE[0])
    hidden = torch.randn(5, SHAPE[1])
    values = unembedding.log_probabilities(
        hidden, torch.tensor([1, 1, 4]), torch.tensor([0, 1, 2]), "raw", False
    )
    everything = unembedding.logits(hidden).log_softmax(-1)
    torch.testing.assert_close(values, everything[[1, 1, 4], [0, 1, 2]])


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
