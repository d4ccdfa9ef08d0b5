"""Inference: the lane's route for any other server, and a client that may leave."""

import asyncio

import pytest

from gateway.errors import ClientGone
from gateway.types import Call
from gateway.wire.inference import Inference
from gateway.wire.intake import Intake, Policy
from gateway.wire.paths import V2_AND_V1
from gateway.wire.runner import Message
from tests.clock import play
from tests.fakes import Tallied
from tests.wire.asgi import Client, part, scope
from tests.wire.harness import Desk, Echo, echo, numbers, turns

PATH = ("v2", "models", "m", "infer")


def asking(path: tuple[str, ...] = PATH, *headers: tuple[bytes, bytes]) -> Message:
    state = {"request_id": b"r-1", "segments": path}
    return scope("/" + "/".join(path), headers=list(headers), state=state)


class Slow(Client):
    """A client that stays until it is told to leave."""

    def __init__(self, *messages: Message) -> None:
        super().__init__(*messages)
        self.leaves = asyncio.Event()

    async def receive(self) -> Message:
        if not self.messages:
            await self.leaves.wait()
        return await super().receive()


class Later(Echo):
    """Answers at the end of the tick, as an inline model does."""

    def infer(self, call: Call) -> None:
        asyncio.get_running_loop().call_soon(echo, call)


def ask(*parts: Message, most: int = 1000, scene: Message | None = None) -> Client:
    client = Client(*parts)
    app = Inference(Intake(Echo(), Policy(), Tallied()), V2_AND_V1, most)
    asyncio.run(app(scene or asking(), client.receive, client.send))
    return client


def test_an_answer_is_sent_with_the_headers_of_the_lane() -> None:
    client = ask(part(numbers(1, 2)))
    start, body = client.sent
    assert (start["type"], start["status"]) == ("http.response.start", 200)
    assert start["headers"] == [
        (b"content-type", b"application/json"),
        (b"x-gateway-version", b"1"),
        (b"x-request-id", b"r-1"),
        (b"content-length", b"%d" % len(client.body)),
    ]
    assert body["type"] == "http.response.body"


def test_a_body_in_parts_is_read_as_one() -> None:
    body = numbers(1, 2)
    parts = [part(body[at : at + 7], more=True) for at in range(0, len(body), 7)]
    assert ask(*parts, part(b"")).body == ask(part(body)).body


@pytest.mark.parametrize("cut", [100, 50])
def test_a_body_too_large_is_refused_as_soon_as_it_is(cut: int) -> None:
    client = ask(part(b"x" * cut, more=True), part(b"x" * (101 - cut)), part(b""), most=100)
    assert client.status == 413
    assert b"size of 101 bytes exceeds the maximum allowed input size of 100" in client.body
    assert len(client.messages) == 1


def test_a_body_of_just_the_limit_is_read() -> None:
    body = numbers(1, 2)
    assert ask(part(body), most=len(body)).status == 200
    assert ask(part(body), most=len(body) - 1).status == 413


def test_terms_are_judged_before_the_body_is_read() -> None:
    client = ask(part(b"x"), scene=asking(PATH, (b"x-request-timeout-ms", b"soon")))
    assert client.status == 400
    assert len(client.messages) == 1


def test_a_client_that_leaves_before_its_body_is_whole_gets_499() -> None:
    assert ask(part(b"x", more=True)).status == 499


def test_no_model_can_have_such_a_name() -> None:
    assert ask(scene=asking(("v2", "models", "stats", "infer"))).status == 404


def test_an_answer_at_the_end_of_the_tick_is_sent() -> None:
    async def scene() -> Client:
        client = Slow(part(numbers(1, 2)))
        app = Inference(Intake(Later(), Policy(), Tallied()), V2_AND_V1, 1000)
        await app(asking(), client.receive, client.send)
        assert len(asyncio.all_tasks()) == 1
        return client

    assert play(scene).status == 200


def test_a_later_answer_is_sent_when_it_comes() -> None:
    async def scene() -> Client:
        desk = Desk()
        client = Slow(part(numbers(1, 2)), part(b""))  # a late part is nobody's business
        app = Inference(Intake(desk, Policy(), Tallied()), V2_AND_V1, 1000)
        task = asyncio.create_task(app(asking(), client.receive, client.send))
        await turns()
        assert client.sent == []
        echo(desk.calls[0])
        await task
        await turns()
        assert len(asyncio.all_tasks()) == 1
        return client

    assert play(scene).status == 200


def test_a_client_that_leaves_takes_its_call_along() -> None:
    async def scene() -> Call:
        desk = Desk()
        client = Slow(part(numbers(1, 2)))
        app = Inference(Intake(desk, Policy(), Tallied()), V2_AND_V1, 1000)
        task = asyncio.create_task(app(asking(), client.receive, client.send))
        await turns()
        client.leaves.set()
        await task
        assert client.sent == []
        echo(desk.calls[0])
        return desk.calls[0]

    call = play(scene)
    assert call.done
    assert isinstance(call.error, ClientGone)


@pytest.mark.parametrize("ticks", [1, 5])
def test_a_request_that_is_cancelled_takes_its_call_along(ticks: int) -> None:
    async def scene() -> Call:
        desk = Desk()
        client = Slow(part(numbers(1, 2)))
        app = Inference(Intake(desk, Policy(), Tallied()), V2_AND_V1, 1000)
        task = asyncio.create_task(app(asking(), client.receive, client.send))
        await turns(ticks)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert client.sent == []
        return desk.calls[0]

    call = play(scene)
    assert isinstance(call.error, ClientGone)
