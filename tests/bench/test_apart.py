import pytest

from bench.apart import ApartFailed, apart, told


@pytest.mark.slow
def test_what_is_measured_apart_comes_back() -> None:
    assert set(told("bench.lookup", ["--models", "2", "3"], None)) == {"2", "3"}


def test_a_process_that_says_nothing_is_told_by_its_end() -> None:
    with pytest.raises(ApartFailed, match=r"bench\.nothing ended with 1"):
        told("bench.nothing", [], None)


def test_a_process_ends_with_its_block() -> None:
    with apart("http.server", ["0"], None) as process:
        inner = vars(process)["_process"]
        assert inner.poll() is None
    assert inner.poll() is not None
