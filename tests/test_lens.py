from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_packed import DEVICES
from torch.nn.functional import linear

from strata.errors import StrataError
from strata.models import lens as lens_module
from strata.models.compiled import FOLDER, compiled
from strata.models.lens import (
    Unembedding,
    Wanted,
    fold,
    log_sum_exp,
    naive_log_probabilities,
    sum_paths,
)
from strata.names import LENSES, NORMED, RAW, REFERENCE

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


def logits_of(unembedding, hidden, lenses, tokens):
    views = unembedding.views(hidden, lenses, last=False)
    return {
        lens: unembedding._scaled(products, lens)
        for own, products in unembedding.products(views, tokens, lenses)
        for lens in own
    }


def asked(unembedding, hidden, source, token):
    """Some tokens after each position, in one block."""
    (block,) = unembedding.blocks(Wanted(np.arange(len(hidden)), source, token))
    return block


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("options", [{}, {"softcap": 3.0, "bias": True}])
def test_blocks_equal_the_whole_log_softmax(last, dtype, options):
    torch.manual_seed(0)
    unembedding = make(dtype=dtype, **options)
    rng = np.random.default_rng(0)
    hidden = (3 * torch.randn(40, SHAPE[1])).to(dtype)
    positions = np.sort(rng.permutation(40)[:23])
    source = np.sort(rng.integers(0, 23, 50))  # some positions predict nothing, some many tokens
    wanted = Wanted(positions, source, rng.integers(0, SHAPE[0], 50))
    slow = {
        lens: naive_log_probabilities(unembedding, hidden, wanted, lens, last) for lens in LENSES
    }
    # Together, as two that share no product, and alone.
    for lenses in (list(LENSES), [NORMED, REFERENCE], *([lens] for lens in LENSES)):
        fast = {lens: torch.empty(50) for lens in lenses}
        for block in unembedding.blocks(wanted):
            rows = hidden[block.positions]
            found = unembedding.log_probabilities(rows, block, lenses, last)
            assert found.keys() == fast.keys()
            for lens in lenses:
                fast[lens][block.place] = found[lens]
        for lens in lenses:
            torch.testing.assert_close(fast[lens], slow[lens], atol=1e-5, rtol=1e-6)


@pytest.mark.parametrize(
    ("dtype", "times", "over"), [(torch.float32, 2.0, 1.3), (torch.bfloat16, 1.7, 2.0)]
)
def test_logits_are_scaled_as_the_models_are_and_squashed_after(dtype, times, over):
    """In the dtype of the product, a step at a time: what bfloat16 rounds is rounded there."""
    hidden = torch.randn(5, SHAPE[1]).to(dtype)
    plain, scaled = make(dtype=dtype), make(3.0, dtype=dtype, multiplier=times, divisor=over)
    whole = slice(0, SHAPE[0])
    for lenses in (list(LENSES), [REFERENCE]):
        found = [logits_of(u, hidden, lenses, whole) for u in (plain, scaled)]
        for lens in lenses:
            logits = found[0][lens].to(dtype if lens == REFERENCE else torch.float32)
            own = torch.tanh(logits * times / over / 3.0) * 3.0
            assert torch.equal(found[1][lens], own.float())


@pytest.mark.parametrize(("last", "products"), [(False, 2), (True, 3)])
def test_reference_and_raw_are_of_one_product_but_at_the_last_layer(last, products, monkeypatch):
    unembedding = make(dtype=torch.bfloat16, block=(50, 50))
    asked = []
    monkeypatch.setattr(lens_module, "linear", lambda *a: asked.append(a) or linear(*a))
    hidden = torch.randn(5, SHAPE[1]).bfloat16()
    wanted = Wanted(np.arange(5), np.arange(5), np.arange(5))
    (block,) = unembedding.blocks(wanted)
    unembedding.log_probabilities(hidden, block, list(LENSES), last)
    assert len(asked) == products


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("options", [{}, {"softcap": 3.0, "multiplier": 1.7, "divisor": 2.3}])
def test_logits_read_once_give_the_same(monkeypatch, dtype, last, options):
    """The function that a card has compiled, as it is."""
    monkeypatch.setattr(lens_module, "compiled", lambda function, dynamic: function)
    torch.manual_seed(0)
    hidden = (3 * torch.randn(6, SHAPE[1])).to(dtype)
    unembedding = make(dtype=dtype, bias=True, **options)
    block = asked(unembedding, hidden, np.arange(6), np.array([0, 39, 7, 12, 13, 25]))
    for lenses in (list(LENSES), [REFERENCE]):
        found = []
        for unembedding.fused in (False, True):
            found.append(unembedding.log_probabilities(hidden, block, lenses, last))
        assert unembedding.fused
        for lens in lenses:
            torch.testing.assert_close(found[1][lens], found[0][lens], atol=1e-5, rtol=1e-6)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.workflow
def test_logits_read_once_by_a_compiled_function_give_the_same(monkeypatch, tmp_path, device):
    """On a CPU by the C++ that torch's compiler writes; bfloat16 is rounded where torch does."""
    monkeypatch.setenv(FOLDER, str(tmp_path))
    products = 9 * torch.randn(24, 700, device=device)
    totals = [products.new_full((24,), -torch.inf), torch.randn(24, device=device)]
    kinds = [torch.float32, torch.bfloat16]
    # As architectures have them, one at a time: of several in a row not all are rounded between.
    for scales in ((1.7, 1.0, None), (1.0, 2.3, None), (1.0, 1.0, 3.0)):
        with torch.inference_mode():
            own, eager = (
                function(products, totals, kinds, scales)
                for function in (compiled(fold, True), fold)
            )
        for values, truth in zip(own, eager, strict=True):
            torch.testing.assert_close(values, truth, atol=2e-6, rtol=1e-6)
        # Were nothing rounded to bfloat16 in between, it would show.
        (loose,) = fold(products, totals[1:], kinds[:1], scales)
        assert (loose - eager[1]).abs().max() > 1e-4


def test_where_nothing_can_be_compiled_logits_are_read_as_before(monkeypatch, caplog):
    monkeypatch.setattr(lens_module, "compiled", lambda *_, **__: lambda *_: 1 / 0)
    hidden = torch.randn(6, SHAPE[1])
    unembedding = make()
    block = asked(unembedding, hidden, np.arange(6), np.arange(6))
    plain = unembedding.log_probabilities(hidden, block, list(LENSES), False)
    unembedding.fused = True
    found = unembedding.log_probabilities(hidden, block, list(LENSES), False)
    assert not unembedding.fused
    assert all(torch.equal(found[lens], plain[lens]) for lens in LENSES)
    assert caplog.text.count("the lenses can't be compiled here (division by zero)") == 1


def of_float16(weight, norm, **options):
    return [Unembedding(weight, None, norm, norm, float16=own, **options) for own in (False, True)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_normed_by_float16_products_is_off_by_what_rounding_does(dtype):
    """A small random model: 512 numbers of a normed stream, logits some nats apart. The other
    lenses, the reference one at the last layer too, are as they were."""
    torch.manual_seed(0)
    weight = (0.06 * torch.randn(1000, 512)).to(dtype)
    hidden = torch.randn(300, 512).to(dtype)
    source, token = np.arange(300), np.random.default_rng(0).integers(0, 1000, 300)
    exact, half = of_float16(weight, lambda x: torch.nn.functional.rms_norm(x, (512,)))
    block = asked(exact, hidden, source, token)
    for last in (False, True):
        one, other = (u.log_probabilities(hidden, block, list(LENSES), last) for u in (exact, half))
        assert torch.equal(one[RAW], other[RAW])
        torch.testing.assert_close(one[REFERENCE], other[REFERENCE], atol=1e-5, rtol=1e-6)
        error = (one[NORMED] - other[NORMED]).double().pow(2).mean().sqrt()
        assert 1e-4 < error < 6e-4
        alone = half.log_probabilities(hidden, block, [NORMED], last)[NORMED]
        assert torch.equal(alone, other[NORMED])


@pytest.mark.parametrize("sizes", [(1e6, 1e-6), (1e-7, 1e7), (1e5, 1e-3)])
def test_numbers_that_float16_has_not_are_brought_into_its_range(sizes):
    """Beyond 65,504, and below what it rounds to nothing: in the stream, in the head, in both."""
    torch.manual_seed(0)
    stream, head = sizes
    hidden, weight = torch.randn(40, 64) * stream, torch.randn(100, 64) * head
    hidden[3] *= 1e-4  # rows are apart
    exact, half = of_float16(weight / (stream * head * 8), lambda x: x)
    block = asked(exact, hidden, np.arange(40), np.arange(40))
    one, other = (
        u.log_probabilities(hidden, block, [NORMED], False)[NORMED] for u in (exact, half)
    )
    assert torch.isfinite(other).all()
    torch.testing.assert_close(other, one, atol=3e-3, rtol=0)


def test_the_normaliser_is_as_exact_as_float32_and_minds_no_outlier():
    torch.manual_seed(0)
    logits = 5 * torch.randn(50, 1000)
    logits[:, 0] = -3e4  # a token that a model never gives
    logits[0, 1], logits[1] = 2e4, -7e3
    truth = logits.double().logsumexp(-1)
    error = (log_sum_exp(logits).double() - truth).abs()
    assert (error <= 2e-6 + 2**-24 * truth.abs()).all()


def test_blocks_are_as_many_as_there_are_lanes():
    wanted = Wanted(np.arange(23), np.arange(23), np.zeros(23, int))
    for lanes, sizes in ((1, [7, 7, 7, 2]), (4, [6, 6, 6, 5]), (50, [1] * 23)):
        blocks = make().blocks(wanted, lanes=lanes)
        assert [len(own.positions) for own in blocks] == sizes


def test_halves_of_a_block_have_its_log_probabilities_between_them():
    unembedding, hidden = make(), torch.randn(7, SHAPE[1])
    rng = np.random.default_rng(1)
    wanted = Wanted(np.arange(7), np.sort(rng.integers(0, 7, 40)), rng.integers(0, SHAPE[0], 40))
    (whole,) = unembedding.blocks(wanted)
    found = torch.empty(40)
    parts = unembedding.halves(whole)
    assert [len(own.positions) for own in parts] == [3, 4]
    for own in [*unembedding.halves(parts[0]), parts[1]]:
        values = unembedding.log_probabilities(hidden[own.positions], own, [NORMED], False)
        found[own.place] = values[NORMED]
    slow = naive_log_probabilities(unembedding, hidden, wanted, NORMED, False)
    torch.testing.assert_close(found, slow, atol=1e-5, rtol=1e-6)
    (one,) = unembedding.blocks(Wanted(np.arange(1), np.zeros(2, int), np.arange(2)))
    with pytest.raises(StrataError, match="one position do not fit"):
        unembedding.halves(one)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("lenses", [list(LENSES), [REFERENCE]])
def test_units_for_bfloat16_make_the_same_logits(bias, lenses, monkeypatch):
    """A card's product in float32 of what is bfloat16, which a CPU has no kernel for."""
    torch.manual_seed(0)
    unembedding = make(dtype=torch.bfloat16, bias=bias)
    hidden = torch.randn(9, SHAPE[1]).bfloat16()
    slow = {lens: unembedding.whole_logits(hidden, lens, False) for lens in lenses}

    def product(a, b, out_dtype=torch.bfloat16):
        assert a.dtype == b.dtype == torch.bfloat16
        return (a.float() @ b.float()).to(out_dtype)

    monkeypatch.setattr(torch, "mm", product)
    monkeypatch.setattr(Unembedding, "_units", True)
    fast = {lens: unembedding.whole_logits(hidden, lens, False) for lens in lenses}
    assert fast.keys() == slow.keys()
    for lens in lenses:
        step = 2**-8 if lens == REFERENCE else 2**-15
        torch.testing.assert_close(fast[lens], slow[lens], atol=step, rtol=step)


def test_units_are_a_card_s_and_for_bfloat16_alone():
    units = {
        (card, dtype): Unembedding(
            SimpleNamespace(dtype=dtype, device=torch.device("cuda" if card else "cpu")),
            *[None] * 3,
        )._units
        for card in (True, False)
        for dtype in (torch.bfloat16, torch.float32)
    }
    assert [where for where, own in units.items() if own] == [(True, torch.bfloat16)]


def test_a_float32_normed_stream_split_for_bfloat16_units_keeps_16_bits(monkeypatch):
    """The parts that a card multiplies, their products added up in float32."""
    monkeypatch.setattr(Unembedding, "_units", True)
    hidden, weight = torch.randn(20, 64), torch.randn(50, 64).bfloat16()
    high, low = make(dtype=torch.bfloat16)._exact(hidden)
    assert high.dtype == low.dtype == torch.bfloat16
    assert [own.tolist() for own in make(dtype=torch.bfloat16)._exact(high)] == [high.tolist()]
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
