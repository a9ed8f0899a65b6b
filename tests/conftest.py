import os

import hypothesis
import pytest
import workflow

# Tiny models gain nothing from threads, and threads of parallel test processes fight.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# No test is timed: a busy machine is no fault.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.fixture
def card(monkeypatch):
    """A machine with a card that is none, on which all was in order when the test ends."""
    from standin import cards

    with cards(monkeypatch) as own:
        yield own
    assert not own.races, own.races[0]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Tests of one finished study run on one worker: the study takes a minute to run."""
    for item in items:
        for study in {"done", "planned", "ran", "embedded"}.intersection(item.fixturenames):
            item.add_marker(pytest.mark.xdist_group(study))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """`make check` leaves out what carries the mark, so nothing else may start a workflow."""
    workflow.allowed = item.get_closest_marker("workflow") is not None
