"""The life of a call on one page: who is asked, who answers, who is refused."""

from collections.abc import Iterator

import pytest

from gateway.core.batching import Policy
from gateway.errors import NotReady, UnknownModel, UnknownVersion
from gateway.flow import Flow, Served
from gateway.types import Version
from tests.clock import play
from tests.fakes import TWICE, Answer, Client, FakeModel, a_call, batcher_for

ONE = Version("digits", "1", TWICE.signature)
TWO = Version("digits", "2", TWICE.signature)
MODELS = {"digits": Served(TWO, {"1": ONE, "2": TWO})}


@pytest.mark.parametrize(
    ("version", "expected"), [(None, TWO), ("1", ONE), ("2", TWO), ("01", ONE), ("002", TWO)]
)
def test_a_version_is_the_one_asked_for_or_the_default(
    version: str | None, expected: Version
) -> None:
    assert Flow(MODELS, {}).find("digits", version) is expected


@pytest.mark.parametrize("version", [None, "1"])
def test_an_unknown_model_is_named(version: str | None) -> None:
    with pytest.raises(UnknownModel, match="unknown model: 'cancer' is not found"):
        Flow(MODELS, {}).find("cancer", version)


@pytest.mark.parametrize("version", ["3", "", "1.0", "latest"])
def test_an_unknown_version_is_named(version: str) -> None:
    with pytest.raises(UnknownVersion, match=f"'digits' version {version} is not found"):
        Flow(MODELS, {}).find("digits", version)


UNREADY = {
    "digits": Served(ONE, {"1": ONE}, {"2": "it killed a replica"}),
    "cancer": Served(None, {}, {"1": "unloaded", "2": "a bad checksum"}),
    "empty": Served(None, {}),
    "chosen": Served(None, {"1": ONE}, {"2": "quarantined"}),
}


@pytest.mark.parametrize(
    ("model", "version", "words"),
    [
        ("digits", "2", "'digits' version 2 is not at ready state: it killed a replica"),
        ("digits", "02", "'digits' version 02 is not at ready state: it killed a replica"),
        ("cancer", "1", "'cancer' version 1 is not at ready state: unloaded"),
        (
            "cancer",
            None,
            "'cancer' has no available versions: version 1: unloaded; version 2: a bad checksum",
        ),
        ("empty", None, "'empty' has no available versions"),
        (
            "chosen",
            None,
            (
                "'chosen' has no version at ready state that answers by default, "
                "only 1 when asked for: version 2: quarantined"
            ),
        ),
    ],
)
def test_what_is_known_and_not_ready_says_why(model: str, version: str | None, words: str) -> None:
    with pytest.raises(NotReady) as caught:
        Flow(UNREADY, {}).find(model, version)
    assert str(caught.value) == f"Request for unknown model: {words}"


def test_a_version_beside_one_that_is_not_ready_answers() -> None:
    flow = Flow(UNREADY, {})
    assert flow.find("digits", None) is flow.find("digits", "1") is flow.find("chosen", "1") is ONE
    with pytest.raises(UnknownVersion):
        flow.find("cancer", "3")


def test_the_table_is_replaced_whole() -> None:
    async def scene() -> tuple[list[Answer], list[list[float]], list[list[float]]]:
        client, old, new = Client(), FakeModel(), FakeModel()
        async with batcher_for(old, Policy()) as first, batcher_for(new, Policy()) as second:
            flow = Flow({"digits": Served(ONE, {"1": ONE})}, {ONE: first})
            call = client.call(1)
            call.version = flow.find("digits", None)
            flow.infer(call)
            flow.replace({"digits": Served(TWO, {"2": TWO})}, {TWO: second})
            with pytest.raises(UnknownVersion):
                flow.find("digits", "1")
            call = client.call(2)
            call.version = flow.find("digits", None)
            flow.infer(call)
        return sorted(client.answers(), key=str), old.batches, new.batches

    assert play(scene) == ([[2], [4]], [[1]], [[2]])


class Huge(dict[str, Served]):
    """A table that nobody may walk."""

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("a request looked at every model")

    keys = items = values = __iter__  # type: ignore[assignment]  # may not be called at all


def test_a_request_looks_at_its_own_model_alone() -> None:
    flow = Flow(Huge({f"model-{n}": Served(ONE, {"1": ONE}) for n in range(1000)}), {})
    assert flow.find("model-999", None) is flow.find("model-0", "1") is ONE
    with pytest.raises(UnknownModel):
        flow.find("model-1000", None)


def test_a_call_for_a_version_that_is_not_loaded_is_refused() -> None:
    heard: list[object] = []
    call = a_call(1, on_done=heard.append)
    Flow(MODELS, {}).infer(call)
    assert heard == [call]
    assert isinstance(call.error, NotReady)
    assert str(call.error) == "model 'twice' is not loaded"


def test_a_call_is_answered_by_the_batcher_of_its_own_version() -> None:
    async def scene() -> tuple[list[Answer], list[list[float]], list[list[float]]]:
        client, one, two = Client(), FakeModel(), FakeModel()
        async with batcher_for(one, Policy()) as first, batcher_for(two, Policy()) as second:
            flow = Flow(MODELS, {ONE: first, TWO: second})
            for row, version in ((1, "1"), (2, "2"), (3, "1")):
                call = client.call(row)
                call.version = flow.find("digits", version)
                flow.infer(call)
        return sorted(client.answers(), key=str), one.batches, two.batches

    assert play(scene) == ([[2], [4], [6]], [[1, 3]], [[2]])
