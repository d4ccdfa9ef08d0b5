"""What is asked of the desk, and what never gets there."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from gateway.errors import (
    CannotPrepare,
    Forbidden,
    GatewayError,
    Malformed,
    NotReady,
    Overloaded,
    UnknownModel,
    UnknownVersion,
)
from gateway.flow import Flow, Served
from gateway.types import Arm
from gateway.wire.failures import Refused, status_of
from gateway.wire.stock import Stock
from tests.wire.clerk import Clerk, Question
from tests.wire.harness import DOUBLE

ARM = Arm(DOUBLE)
MODELS = {
    "m": Served(ARM, {"1": ARM}, {"2": "quarantined"}),
    "away": Served(None, {}, {"1": "unloaded", "2": "a bad checksum"}),
    "empty": Served(None, {}),
}


def stock(clerk: Clerk, is_explicit: bool = True) -> Stock:
    return Stock(clerk, Flow(MODELS, {}), is_explicit, max_json_depth=10)


def refused(ask: Callable[[Stock], Awaitable[bytes]], clerk: Clerk, **given: bool) -> GatewayError:
    async def scene() -> bytes:
        return await ask(stock(clerk, **given))

    with pytest.raises(GatewayError) as caught:
        asyncio.run(scene())
    return caught.value


@pytest.mark.parametrize(
    ("model", "version", "expected"),
    [(None, None, None), ("m", None, None), ("m", "1", "1"), ("m", "001", "1")],
)
def test_statistics_are_asked_for_by_canonical_version(
    model: str | None, version: str | None, expected: str | None
) -> None:
    clerk = Clerk(b'{"model_stats":[]}')
    assert asyncio.run(stock(clerk).statistics(model, version)) == clerk.says
    assert clerk.asked == [Question("statistics", model, expected, b"{}")]


@pytest.mark.parametrize(
    ("model", "version", "kind", "text"),
    [
        ("n", None, UnknownModel, "requested model 'n' is not available"),
        ("n", "1", UnknownModel, "requested model 'n' is not available"),
        (
            "m",
            "3",
            UnknownVersion,
            "requested model version is not available for model 'm': version 3",
        ),
        (
            "m",
            "02",
            NotReady,
            "requested model version is not available for model 'm': version 2: quarantined",
        ),
        (
            "away",
            None,
            NotReady,
            (
                "requested model 'away' is not available: version 1: unloaded; "
                "version 2: a bad checksum"
            ),
        ),
        ("empty", None, NotReady, "requested model 'empty' is not available: unloaded"),
    ],
)
def test_statistics_of_what_is_not_served_are_refused_here(
    model: str, version: str | None, kind: type[GatewayError], text: str
) -> None:
    clerk = Clerk()
    error = refused(lambda at: at.statistics(model, version), clerk)
    assert (type(error), str(error), clerk.asked) == (kind, text, [])


@pytest.mark.parametrize("is_explicit", [False, True])
def test_the_index_is_there_whoever_loads(is_explicit: bool) -> None:
    clerk = Clerk(b"[]")
    assert asyncio.run(stock(clerk, is_explicit).index(b'{"ready":true}')) == b"[]"
    assert clerk.asked == [Question("index", None, None, b'{"ready":true}')]
    assert isinstance(refused(lambda at: at.index(b'{"ready":1}'), clerk), Malformed)


def test_a_load_and_an_unload_reach_the_desk() -> None:
    clerk = Clerk(b'{"name":"m","load":true}')
    at = stock(clerk)

    async def scene() -> tuple[bytes, bytes]:
        return await at.load("m", b""), await at.unload("other", b"{}")

    assert asyncio.run(scene()) == (clerk.says, clerk.says)
    assert clerk.asked == [
        Question("load", "m", None, b'{"parameters":{}}'),
        Question("unload", "other", None, b"{}"),
    ]


@pytest.mark.parametrize("body", [b"", b"[", b'{"parameters":1}'])
@pytest.mark.parametrize("model", ["m", "n", "", ".."])
def test_without_explicit_control_nothing_is_loaded_or_unloaded(model: str, body: bytes) -> None:
    clerk = Clerk()
    for error in (
        refused(lambda at: at.load(model, body), clerk, is_explicit=False),
        refused(lambda at: at.unload(model, body), clerk, is_explicit=False),
    ):
        assert isinstance(error, Forbidden)
        text = "explicit model load / unload is not allowed if polling is enabled"
        assert str(error).startswith(text)
    assert clerk.asked == []


@pytest.mark.parametrize(
    ("model", "body"), [("..", b""), ("", b""), ("m", b"["), ("m", b'{"parameters":1}')]
)
def test_a_request_that_is_wrong_never_reaches_the_desk(model: str, body: bytes) -> None:
    clerk = Clerk()
    assert isinstance(refused(lambda at: at.load(model, body), clerk), Malformed)
    assert isinstance(refused(lambda at: at.unload(model, body), clerk), Malformed)
    assert clerk.asked == []


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (CannotPrepare("version 1: it hangs"), "failed to load 'm': version 1: it hangs"),
        (CannotPrepare("failed to load 'm': it hangs"), "failed to load 'm': it hangs"),
        (
            UnknownModel("no such folder"),
            "failed to load 'm', failed to poll from model repository: no such folder",
        ),
        (UnknownVersion("no version 3"), "failed to load 'm': no version 3"),
    ],
)
def test_a_load_that_fails_is_said_in_words_that_clients_know(
    error: GatewayError, text: str
) -> None:
    found = refused(lambda at: at.load("m", b""), Clerk(error))
    assert isinstance(found, Refused)
    assert (status_of(found), found.code, str(found)) == (400, "load_failed", text)


@pytest.mark.parametrize("error", [Overloaded("too many"), NotReady("gone"), Malformed("bad")])
def test_what_else_the_desk_refuses_with_is_passed_on(error: GatewayError) -> None:
    assert refused(lambda at: at.load("m", b""), Clerk(error)) is error
    assert refused(lambda at: at.unload("m", b""), Clerk(error)) is error


def test_to_unload_what_is_not_there_is_a_404() -> None:
    error = refused(lambda at: at.unload("n", b""), Clerk(UnknownModel("'n' is not found")))
    assert status_of(error) == 404
