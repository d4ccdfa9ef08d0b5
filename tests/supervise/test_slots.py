import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack

import pytest

from gateway.supervise.slots import bind_slots, listen

WATCHDOG_S = 30.0
# Binds an address, has it inherited by a process that outlives this one, says both.
_LOADING = """
import subprocess, sys
from gateway.supervise.slots import bind_slots
slots = bind_slots("127.0.0.1", 0, int(sys.argv[1]))
numbers = [slot.fileno() for slot in slots]
orphan = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], pass_fds=numbers)
print(slots[0].getsockname()[1], flush=True)
orphan.wait()
"""


def bound_by(stack: ExitStack, host: str, port: int, count: int) -> Sequence[socket.socket]:
    """Bind slots, closed with the stack."""
    return [stack.enter_context(slot) for slot in bind_slots(host, port, count)]


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


@pytest.mark.parametrize("second", [1, 2])
@pytest.mark.parametrize("first", [1, 2])
def test_a_port_is_taken_while_its_gateway_still_loads(first: int, second: int) -> None:
    with ExitStack() as bound:
        port = bound_by(bound, "127.0.0.1", 0, first)[0].getsockname()[1]
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}: .*in use"):
            bind_slots("127.0.0.1", port, second)


@pytest.mark.parametrize(("host", "same"), [("127.0.0.1", "localhost"), ("::1", "0:0:0:0:0:0:0:1")])
def test_an_address_is_the_same_however_it_is_written(host: str, same: str) -> None:
    with ExitStack() as bound:
        port = bound_by(bound, host, 0, 2)[0].getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            bind_slots(same, port, 2)


@pytest.mark.parametrize("host", ["127.0.0.2", "::1"])
def test_another_address_may_have_the_same_port(host: str) -> None:
    with ExitStack() as bound:
        port = bound_by(bound, "127.0.0.1", 0, 2)[0].getsockname()[1]
        assert bound_by(bound, host, port, 2)[0].getsockname()[:2] == (host, port)


@pytest.mark.parametrize("count", [1, 2])
def test_what_was_closed_can_be_had_at_once(count: int) -> None:
    with ExitStack() as bound:
        port = bound_by(bound, "127.0.0.1", 0, count)[0].getsockname()[1]
    with ExitStack() as bound:
        bound_by(bound, "127.0.0.1", port, count)


@pytest.mark.parametrize("count", [1, 2])
def test_what_was_refused_leaves_no_claim(count: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            bind_slots("127.0.0.1", port, count)
    with ExitStack() as bound:
        bound_by(bound, "127.0.0.1", port, count)


def test_ports_that_the_kernel_chooses_are_different_ones() -> None:
    with ExitStack() as bound:
        ports = {bound_by(bound, "127.0.0.1", 0, 2)[0].getsockname()[1] for _ in range(16)}
        assert len(ports) == 16


@pytest.mark.parametrize("count", [1, 2])
def test_a_gateway_that_was_killed_can_be_started_again_at_once(count: int) -> None:
    """Its replicas may not have ended yet: they inherit the slots, and not the claim."""
    command = [sys.executable, "-c", _LOADING, str(count)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, text=True, stdin=pipe, stdout=pipe) as loading:
        assert loading.stdout is not None
        port = int(loading.stdout.readline())
        with pytest.raises(OSError, match="in use"):
            bind_slots("127.0.0.1", port, count)
        loading.kill()
        loading.wait(WATCHDOG_S)
        with ExitStack() as bound:
            bound_by(bound, "127.0.0.1", port, count)
