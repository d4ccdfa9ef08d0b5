import os
import socket

import pytest

from bench import callers
from bench.callers import callers_of, parse_callers, wait_for
from bench.managed import NeverSo

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 11 1 0
   1: 0100007F:1F90 0100007F:C001 01 00000000:00000000 00:00000000 00000000  1000        0 12 1 0
   2: 0100007F:C001 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1000        0 13 1 0
   3: 0100007F:1F90 0100007F:C002 06 00000000:00000000 00:00000000 00000000  1000        0 14 1 0
   4: 0100007F:1F91 0100007F:C003 01 00000000:00000000 00:00000000 00000000  1000        0 15 1 0
"""


def test_of_all_connections_those_are_read_that_call_the_port_and_stand() -> None:
    assert parse_callers(TABLE, 8080) == {"socket:[12]": 0xC001}


def test_a_connection_belongs_to_who_accepted_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as ours:
            assert callers_of([os.getpid()], port) == {}  # it waits to be accepted
            accepted, _ = listener.accept()
            with accepted:
                assert callers_of([os.getpid()], port) == {ours.getsockname()[1]: os.getpid()}


def test_waiting_ends_when_all_are_accepted_and_strangers_are_left_out() -> None:
    looks = iter([{}, {1: 10}, {1: 10, 2: 11, 3: 11}])
    assert wait_for({1, 2}, lambda: next(looks)) == {1: 10, 2: 11}


def test_who_is_never_accepted_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "WAIT_S", -1.0)
    with pytest.raises(NeverSo, match=r"nobody accepted \[2\]"):
        wait_for({1, 2}, lambda: {1: 10})
