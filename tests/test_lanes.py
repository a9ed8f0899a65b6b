import threading
import time

import numpy as np
import pytest
import torch
from models import byte_tokenizer, make_model, score
from test_extract import ITEMS

from strata.extraction.lanes import in_lanes, lanes_of
from strata.extraction.placement import Memory, batch_tokens_for, needs_of
from strata.extraction.task import read_task
from strata.extraction.tree import batches
from strata.models.checkpoint import read_config
from strata.models.lens import Unembedding
from strata.models.model import Skeleton
from strata.names import LENSES


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


def test_extraction_runs_in_lanes_and_its_needs_count_them(tmp_path, threads, monkeypatch):
    make_model(tmp_path)
    threads(4)
    names = set()
    original = Unembedding.log_probabilities

    def noted(self, *arguments):
        names.add(threading.current_thread().name.partition("_")[0])
        return original(self, *arguments)

    monkeypatch.setattr(Unembedding, "log_probabilities", noted)
    score(tmp_path, ITEMS, batch_tokens=32)
    assert names == {"lane"}
    skeleton = Skeleton(read_config(tmp_path))
    tree = read_task(byte_tokenizer(), ITEMS, None).tree
    together = needs_of(skeleton, tree, 32, 0).batch
    threads(1)
    # Fewer than four: there are no more batches.
    assert len(batches(tree, 32)) == 3
    assert together == 3 * needs_of(skeleton, tree, 32, 0).batch


def test_a_small_task_has_a_batch_for_each_lane(threads):
    tree = read_task(byte_tokenizer(), ITEMS, None).tree
    for count in (1, 2):
        threads(count)
        size = batch_tokens_for(tree, Memory(1 << 40))
        assert len(batches(tree, size)) == count
    # On a card it doesn't follow the memory that is free.
    assert {batch_tokens_for(tree, Memory(1 << 40, card)) for card in (1, 1 << 40)} == {1 << 14}


def test_lanes_leave_the_fewest_threads_over(threads):
    found = {}
    for count in (1, 2, 3, 4, 6, 7, 9, 11):
        threads(count)
        found[count] = lanes_of("cpu")
    assert found == {1: 1, 2: 2, 3: 3, 4: 4, 6: 3, 7: 3, 9: 3, 11: 2}
    assert lanes_of("cpu", 1) == 1
    assert lanes_of("cuda") == 1


def test_a_lane_has_its_share_of_the_threads(threads):
    threads(9)
    with in_lanes(3) as each:
        assert set(each(lambda _: torch.get_num_threads(), range(8))) == {3}
    assert torch.get_num_threads() == 9


def test_results_are_in_order_and_an_error_drops_what_has_not_begun():
    begun, results = [], []

    def piece(number):
        begun.append(number)
        time.sleep(0.02)
        return number

    def consume():
        with in_lanes(2) as each:
            mapped = each(piece, range(200))
            for result in mapped:
                results.append(result)
                if result == 2:
                    raise MemoryError

    with pytest.raises(MemoryError) as kept:  # its traceback holds the iterator
        consume()
    assert kept.type is MemoryError
    assert results == [0, 1, 2]
    assert len(begun) < 200


def test_lanes_are_in_inference_mode():
    with torch.inference_mode(), in_lanes(2) as each:
        assert all(each(lambda _: torch.is_inference_mode_enabled(), range(4)))
