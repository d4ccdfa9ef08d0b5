import socket
from contextlib import ExitStack

import pytest

from gateway.supervise.slots import bind_slots, listen

WATCHDOG_S = 30.0


@pytest.mark.parametrize("count", [1, 3])
def test_all_slots_have_one_address(count: int) -> None:
    with ExitStack() as bound:
        slots = [bound.enter_context(slot) for slot in bind_slots("127.0.0.1", 0, count)]
        assert len(slots) == count
        assert len({slot.getsockname() for slot in slots}) == 1


def test_connections_are_dealt_out_and_each_waits_in_exactly_one_queue() -> None:
    with ExitStack() as bound:
        slots = [bound.enter_context(slot) for slot in bind_slots("127.0.0.1", 0, 2)]
        listen(slots)
        for _ in range(64):
            bound.enter_context(socket.create_connection(slots[0].getsockname(), WATCHDOG_S))
        taken = []
        for slot in slots:
            slot.setblocking(False)
            count = 0
            while True:
                try:
                    bound.enter_context(slot.accept()[0])
                except BlockingIOError:
                    break
                count += 1
            taken.append(count)
        assert sum(taken) == 64
        assert min(taken) > 0


def test_before_they_listen_connections_are_refused() -> None:
    with ExitStack() as bound:
        slots = [bound.enter_context(slot) for slot in bind_slots("127.0.0.1", 0, 2)]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(slots[0].getsockname(), WATCHDOG_S)


@pytest.mark.parametrize("count", [1, 2])
def test_a_port_that_another_gateway_of_this_user_serves_is_taken(count: int) -> None:
    with ExitStack() as bound:
        slots = [bound.enter_context(slot) for slot in bind_slots("127.0.0.1", 0, 2)]
        listen(slots)
        with pytest.raises(OSError, match="in use"):
            bind_slots("127.0.0.1", slots[0].getsockname()[1], count)


def test_ipv6_is_an_address_like_any_other() -> None:
    with ExitStack() as bound:
        slots = [bound.enter_context(slot) for slot in bind_slots("::1", 0, 2)]
        assert slots[0].getsockname()[0] == "::1"
