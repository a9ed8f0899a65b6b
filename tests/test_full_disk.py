"""Where there is no space for a file, that is said, whatever a library makes of it."""

import contextlib
import resource

import numpy as np
import pytest
from models import make_model

from strata.errors import StrataError
from strata.hdf5 import created, writing
from strata.models.untrained import write_untrained
from strata.report.kit.figure import write_figure


@contextlib.contextmanager
def space(size: int):
    """No file grows beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def some_hdf5(path):
    with writing(path) as file:
        for name in "abc":
            file.create_dataset(name, data=np.arange(3000), compression="gzip")
            file[name].attrs["said"] = "long" * 100


def some_figure(path):
    from matplotlib.figure import Figure

    figure = Figure(label="what it shows")
    figure.subplots().bar([1, 2], [3, 4], hatch="//")  # written when the pdf is closed
    write_figure(figure, path)


WRITERS = {"hdf5": some_hdf5, "figure": some_figure}


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_a_file_that_finds_no_space_is_named_wherever_it_ends(writer, tmp_path):
    writer(tmp_path / "whole")
    # Of a figure the pdf; its text is smaller than any of these sizes.
    size = next(p for p in tmp_path.iterdir() if p.name in ("whole", "whole.pdf")).stat().st_size
    for share in (0.1, 0.5, 0.9, 0.99):
        with space(int(share * size)), pytest.raises(StrataError, match=r"cannot be written: .*sp"):
            writer(tmp_path / "cut")
        assert not any(path.suffix == ".part" for path in tmp_path.iterdir())
        assert not {"cut", "cut.pdf"} & {path.name for path in tmp_path.iterdir()}


def test_weights_that_find_no_space_are_named(tmp_path):
    make_model(tmp_path / "model")
    for size in (100, 5000):  # a small file beside them, themselves
        with (
            space(size),
            pytest.raises(StrataError, match=r"untrained cannot be written: .* space"),
        ):
            write_untrained(tmp_path / "model", tmp_path / "untrained")


def test_hdf5_never_sees_the_failure(tmp_path):
    went_on = False

    def write():
        nonlocal went_on
        with created(tmp_path / "a.h5") as file:
            file["a"] = np.arange(10_000)
            file.flush()
            went_on = True

    with space(2000), pytest.raises(OSError, match="File too large"):
        write()
    assert went_on


def test_another_error_stays_what_it_is(tmp_path):
    with pytest.raises(ZeroDivisionError), writing(tmp_path / "a.h5"):
        raise ZeroDivisionError
    (tmp_path / "file").write_text("a file")
    with pytest.raises(StrataError, match=r"b\.h5 cannot be written: File exists"):
        some_hdf5(tmp_path / "file" / "b.h5")
