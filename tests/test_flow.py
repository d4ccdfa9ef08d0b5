"""The life of a call on one page: who is asked, who answers, who is refused."""

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


def test_models_are_replaced_whole() -> None:
    flow = Flow(MODELS, {})
    flow.models = {"digits": Served(ONE, {"1": ONE})}
    assert flow.find("digits", None) is ONE
    with pytest.raises(UnknownVersion):
        flow.find("digits", "2")


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
