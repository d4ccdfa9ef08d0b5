import threading

from bench.sampling import sampled


def test_a_number_is_read_until_the_block_ends() -> None:
    seen = threading.Semaphore(0)

    def read() -> float:
        seen.release()
        return 7.0

    with sampled(read, 0.001) as samples:
        for _ in range(3):
            assert seen.acquire(timeout=30)
    assert len(samples) >= 3
    assert {value for _, value in samples} == {7.0}
    moments = [moment for moment, _ in samples]
    assert moments == sorted(moments)


def test_a_process_that_has_gone_ends_it_quietly() -> None:
    gone = threading.Event()

    def read() -> float:
        gone.set()
        raise ProcessLookupError

    with sampled(read, 0.001) as samples:
        assert gone.wait(30)
    assert samples == []
