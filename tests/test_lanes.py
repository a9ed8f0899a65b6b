import time

import numpy as np
import pytest
import torch
from models import make_model, score
from test_extract import ITEMS

from strata.lanes import lanes_of, side_by_side
from strata.lens import LENSES


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("count", [2, 3, 9])
def test_lanes_change_no_score(tmp_path, threads, count):
    make_model(tmp_path)
    threads(1)
    alone = score(tmp_path, ITEMS, batch_tokens=32)
    threads(count)
    together = score(tmp_path, ITEMS, batch_tokens=32)
    for lens in LENSES:
        np.testing.assert_allclose(
            together.logprob[lens], alone.logprob[lens], rtol=1e-5, atol=1e-5
        )


def test_a_lane_has_its_share_of_the_threads(threads):
    threads(9)
    assert (lanes_of("cpu"), lanes_of("cuda")) == (4, 1)
    with side_by_side(4) as each:
        assert set(each(lambda _: torch.get_num_threads(), range(8))) == {2}
    assert torch.get_num_threads() == 9


def test_results_are_in_order_and_an_error_drops_what_has_not_begun():
    begun = []

    def piece(number):
        begun.append(number)
        time.sleep(0.02)
        if number == 3:
            raise MemoryError
        return number

    def all_pieces():
        with side_by_side(2) as each:
            yield from each(piece, range(200))

    results = all_pieces()
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(MemoryError):
        next(results)
    assert len(begun) < 200


def test_calls_are_in_inference_mode():
    for lanes in (1, 2):
        with torch.inference_mode(), side_by_side(lanes) as each:
            assert all(each(lambda _: torch.is_inference_mode_enabled(), range(4)))
