"""Two ends of a real socket pair: what is said arrives whole, in order, until the end."""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import pytest
import uvloop

from gateway.control import channel as module
from gateway.control.channel import Broken, Channel, TooLong, open_channel
from gateway.control.messages import (
    TO_REPLICA,
    TO_SUPERVISOR,
    Accept,
    Accepting,
    Ask,
    Entry,
    Publish,
    Reply,
    Retired,
    Started,
    Table,
    ToReplica,
    ToSupervisor,
    Withdraw,
)
from tests.wire.harness import turns

T = TypeVar("T")
_WAIT_S = 30.0
Factory = Callable[[], asyncio.AbstractEventLoop]
Ours = Channel[ToReplica, ToSupervisor]
Theirs = Channel[ToSupervisor, ToReplica]
LOOPS = pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])


def run(
    scene: Callable[[], Coroutine[Any, Any, T]], factory: Factory = asyncio.new_event_loop
) -> T:
    async def watched() -> T:
        async with asyncio.timeout(_WAIT_S):
            return await scene()

    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(watched())


async def both() -> tuple[Ours, Theirs]:
    ours, theirs = socket.socketpair()
    return (
        await open_channel(ours, TO_REPLICA, TO_SUPERVISOR),
        await open_channel(theirs, TO_SUPERVISOR, TO_REPLICA),
    )


async def one() -> tuple[Ours, socket.socket]:
    """A channel, and the bare socket at its other end."""
    ours, theirs = socket.socketpair()
    return await open_channel(ours, TO_REPLICA, TO_SUPERVISOR), theirs


@LOOPS
def test_messages_arrive_in_their_order_both_ways(factory: Factory) -> None:
    async def scene() -> None:
        ours, theirs = await both()
        for slot in range(500):
            ours.send(Accept(slot))
        theirs.send(Started(1))
        for slot in range(500):
            assert await theirs.receive() == Accept(slot)
            theirs.send(Accepting(slot))
        assert await ours.receive() == Started(1)
        for slot in range(500):
            assert await ours.receive() == Accepting(slot)
        ours.close()
        theirs.close()

    run(scene, factory)


@LOOPS
def test_a_message_of_megabytes_arrives_whole(factory: Factory) -> None:
    table = Table(1, {f"{number}": Entry("1", {"1": "x" * 200}) for number in range(20_000)})

    async def scene() -> None:
        ours, theirs = await both()
        ours.send(Publish(table))
        ours.send(Withdraw())
        assert await theirs.receive() == Publish(table)
        assert await theirs.receive() == Withdraw()
        ours.close()
        theirs.close()

    run(scene, factory)


@LOOPS
def test_what_was_said_before_the_end_is_heard_and_then_the_end(factory: Factory) -> None:
    async def scene() -> None:
        ours, theirs = await both()
        ours.send(Withdraw())
        ours.close()
        assert await theirs.receive() == Withdraw()
        assert await theirs.receive() is None
        assert await theirs.receive() is None
        theirs.close()

    run(scene, factory)


@LOOPS
def test_closing_ends_who_waits_at_either_end(factory: Factory) -> None:
    async def scene() -> None:
        ours, theirs = await both()
        waiting = [asyncio.create_task(end) for end in (ours.receive(), theirs.receive())]
        await asyncio.sleep(0)
        ours.close()
        ours.close()  # as often as one likes
        assert all(heard is None for heard in [await one for one in waiting])
        theirs.close()

    run(scene, factory)


def test_whoever_waits_may_be_cancelled_and_hears_the_next_message_later() -> None:
    async def scene() -> None:
        ours, theirs = await both()
        waiting = asyncio.create_task(theirs.receive())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        ours.send(Withdraw())
        assert await theirs.receive() == Withdraw()
        ours.close()
        theirs.close()

    run(scene)


@LOOPS
def test_a_message_that_was_cut_off_is_the_end(factory: Factory) -> None:
    async def scene() -> None:
        ours, theirs = await one()
        with theirs:
            theirs.sendall(b'{"kind": "started", "pid": 1')
        assert await ours.receive() is None
        ours.close()

    run(scene, factory)


def test_the_other_side_dies_with_our_words_unread_and_that_is_the_end() -> None:
    async def scene() -> None:
        ours, theirs = await one()
        ours.send(Withdraw())
        theirs.close()  # a reset: what it did not read is lost
        assert await ours.receive() is None
        ours.close()

    run(scene)


@pytest.mark.parametrize(
    "line", [b"nonsense\n", b"\n", b'{"kind": "nonsense"}\n', b"\xff\xfe\n", b'{"kind": "hello"}\n']
)
def test_a_line_that_is_no_message_is_told_as_such(line: bytes) -> None:
    async def scene() -> None:
        ours, theirs = await one()
        with theirs:
            theirs.sendall(line)
            with pytest.raises(ValueError, match="validation error"):
                await ours.receive()
        ours.close()

    run(scene)


@LOOPS
def test_a_line_that_is_too_long_is_no_message_and_is_not_kept(
    factory: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_LINE_BYTES", 1000)

    async def scene() -> None:
        ours, theirs = await one()
        with theirs:
            theirs.sendall(b"x" * 5000)
            with pytest.raises(ValueError, match="limit"):
                await ours.receive()
        ours.close()

    run(scene, factory)


@LOOPS
def test_what_is_too_long_is_told_to_the_sender_and_ends_no_conversation(
    factory: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_LINE_BYTES", 200_000)

    async def scene() -> None:
        ours, theirs = await both()
        with pytest.raises(TooLong):
            ours.send(Publish(Table(1, {"m": Entry("1", {"1": "x" * 200_000})})))
        with pytest.raises(TooLong):
            theirs.send(Ask(1, "load", "m", None, b"x" * 200_001))
        fits = "x" * (200_000 - len(TO_REPLICA.dump_json(Reply(1, ""))))
        ours.send(Reply(1, fits))
        theirs.send(Ask(1, "load", "m", None, b"x" * 200_000))
        assert await theirs.receive() == Reply(1, fits)
        assert await ours.receive() == Ask(1, "load", "m", None, b"x" * 200_000)
        ours.close()
        theirs.close()

    run(scene, factory)


@LOOPS
def test_an_answer_that_is_too_long_is_refused_to_whoever_asked(
    factory: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_LINE_BYTES", 1000)

    async def scene() -> None:
        ours, theirs = await both()
        ours.send(Reply(7, "x" * 1000))
        ours.send(Reply(8, "[]"))
        refusal = await theirs.receive()
        assert isinstance(refusal, Reply)
        assert (refusal.ticket, refusal.code) == (7, "internal")
        assert refusal.body.endswith("bytes are too many to be told at once")
        assert await theirs.receive() == Reply(8, "[]")
        ours.close()
        theirs.close()

    run(scene, factory)


QUESTIONS = [
    Ask(number, "load", "m", None, bytes([number]) * size)
    for number, size in enumerate([1, 65_536, 65_537, 5 << 20, 3, 24 << 20])
]


@LOOPS
def test_what_a_question_brings_arrives_with_it_and_what_is_said_after_it_too(
    factory: Factory,
) -> None:
    async def scene() -> None:
        ours, theirs = await both()
        for question in QUESTIONS:
            theirs.send(question)
            theirs.send(Retired((question.ticket,)))
        for question in QUESTIONS:
            is_the_same = await ours.receive() == question  # megabytes are not to be printed
            assert is_the_same
            assert await ours.receive() == Retired((question.ticket,))
        ours.close()
        theirs.close()

    run(scene, factory)


@LOOPS
def test_whoever_waits_for_what_a_question_brings_may_be_cancelled(factory: Factory) -> None:
    line = TO_SUPERVISOR.dump_json(Ask(1, "load", "m", None, b"", follow_bytes=8)) + b"\n"

    async def scene() -> None:
        ours, theirs = await one()
        with theirs:
            theirs.sendall(line + b"abc")
            for part in (b"de", b"f", b"gh"):
                waiting = asyncio.create_task(ours.receive())
                await turns()
                assert not waiting.done()
                waiting.cancel()
                await asyncio.wait([waiting])
                theirs.sendall(part)
            assert await ours.receive() == Ask(1, "load", "m", None, b"abcdefgh")
        assert await ours.receive() is None
        ours.close()

    run(scene, factory)


def test_a_question_that_was_cut_off_is_the_end() -> None:
    async def scene() -> None:
        ours, theirs = await one()
        with theirs:
            theirs.sendall(TO_SUPERVISOR.dump_json(Ask(1, "load", follow_bytes=9)) + b"\nabc")
        assert await ours.receive() is None
        ours.close()

    run(scene)


def test_more_than_may_follow_is_no_message() -> None:
    async def scene() -> None:
        ours, theirs = await one()
        with theirs:
            theirs.sendall(TO_SUPERVISOR.dump_json(Ask(1, "load", follow_bytes=1 << 40)) + b"\n")
            with pytest.raises(ValueError, match="over the limit"):
                await ours.receive()
        ours.close()

    run(scene)


@LOOPS
def test_who_does_not_read_cannot_make_memory_grow_without_end(
    factory: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_UNSENT_BYTES", 1 << 20)
    table = Publish(Table(1, {"m": Entry("1", {"1": "x" * 100_000})}))

    async def scene() -> None:
        ours, theirs = await one()
        with theirs:
            for _ in range(10):  # a megabyte, or less by what the kernel took
                ours.send(table)
            for _ in range(10):
                with suppress(Broken):
                    ours.send(table)
            with pytest.raises(Broken, match="does not read"):
                ours.send(table)
        ours.close()

    run(scene, factory)


@LOOPS
def test_nothing_can_be_said_after_the_close(factory: Factory) -> None:
    async def scene() -> None:
        ours, theirs = await both()
        ours.close()
        with pytest.raises(Broken, match="gone"):
            ours.send(Withdraw())
        theirs.close()

    run(scene, factory)


@LOOPS
def test_nothing_can_be_said_to_who_is_gone(factory: Factory) -> None:
    """The first word may be written before the end is known; nobody is told of that."""

    async def scene() -> None:
        ours, theirs = await one()
        theirs.close()
        assert await ours.receive() is None
        for _ in range(20):
            try:
                ours.send(Withdraw())
            except Broken:
                break
            await asyncio.sleep(0)
        else:
            raise AssertionError("it speaks on")
        ours.close()

    run(scene, factory)
