import os

import pytest

# Tiny models gain nothing from threads, and threads of parallel test processes fight.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Tests of one finished study run on one worker: the study takes a minute to run."""
    for item in items:
        for study in {"done", "planned"}.intersection(item.fixturenames):
            item.add_marker(pytest.mark.xdist_group(study))
