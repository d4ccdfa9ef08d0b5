"""Rooms: a configuration becomes a replica that serves, or says what is wrong with it."""

import asyncio
import logging
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TypeVar

import orjson
import pytest

from gateway.app.rooms import Replica, open_replica
from gateway.config import Config
from gateway.execute.session import LoadFailed
from gateway.repository.discover import RepositoryError
from gateway.wire.decode import Limits
from gateway.wire.heads import HeadLimits
from gateway.wire.intake import Policy as IntakePolicy
from gateway.wire.port import Policy
from tests.wire.asgi import ask
from tests.wire.harness import Answer, answers, peer, request

T = TypeVar("T")
MODELS = Path(__file__).parents[2] / "models"


def sample(model: str) -> bytes:
    return (MODELS / model / "samples" / "request.json").read_bytes()


async def infer(replica: Replica, model: str = "digits", body: bytes | None = None) -> Answer:
    path = f"/v2/models/{model}/infer".encode()
    return await ask(replica.rest, "POST", path, sample(model) if body is None else body)


def within(scene: Callable[[Replica], Awaitable[T]], config: Config | None = None) -> T:
    """Play a scene before an open replica, of the demo models where none is named."""

    async def play() -> T:
        async with open_replica(config or Config(models=MODELS)) as replica:
            return await scene(replica)

    return asyncio.run(play())


def only(tmp_path: Path, toml: str, model: str = "digits") -> Path:
    """A folder with one version of one model, which declares this."""
    folder = tmp_path / model / "1"
    folder.mkdir(parents=True)
    shutil.copy(MODELS / model / "1" / "model.onnx", folder)
    (folder / "model.toml").write_text(toml)
    return tmp_path


def test_the_demo_models_are_served_by_the_app() -> None:
    async def scene(replica: Replica) -> tuple[Answer, Answer]:
        return await infer(replica, "digits"), await infer(replica, "cancer")

    digits, cancer = within(scene)
    assert (digits.status, cancer.status) == (200, 200)
    assert [output["name"] for output in digits.json["outputs"]] == ["label", "scores"]
    assert digits.json["model_version"] == cancer.json["model_version"] == "2"


def test_the_demo_models_are_served_by_the_lane() -> None:
    async def scene(replica: Replica) -> Answer:
        loop, lane = asyncio.get_running_loop(), replica.lanes()
        state = SimpleNamespace(connections=set(), tasks=set())
        server = await loop.create_server(
            lambda: lane(server_state=state, _loop=loop), "127.0.0.1", 0
        )
        async with server, peer(server.sockets[0].getsockname()) as (reader, writer):
            path = "/v2/models/digits/infer"
            writer.write(request("POST", path, sample("digits"), "connection: close"))
            (answer,) = answers(await reader.read())
        assert state.connections == set()
        by_app = await infer(replica)
        assert answer.json == by_app.json
        return answer

    assert within(scene).status == 200


def test_connections_of_one_age_do_not_all_end_at_once() -> None:
    async def scene(replica: Replica) -> list[float]:
        state = SimpleNamespace(connections=set(), tasks=set())
        lane = replica.lanes()
        ports = [lane(server_state=state, _loop=None)._port for _ in range(50)]  # noqa: SLF001 - no other way to see it
        assert all(port is ports[0] for port in ports)
        return [port.spread() for port in ports]

    ratios = within(scene)
    assert len(set(ratios)) > 1
    assert all(0.9 <= ratio <= 1.1 for ratio in ratios)


def test_the_highest_version_answers_where_none_is_named() -> None:
    async def scene(replica: Replica) -> list[str]:
        return [
            replica.flow.find("digits", version).version.version for version in (None, "1", "02")
        ]

    assert within(scene) == ["2", "1", "2"]


def test_limits_of_a_connection_come_from_the_configuration() -> None:
    limits = {
        "max_body_bytes": 1,
        "max_target_bytes": 2,
        "max_head_bytes": 3,
        "max_fields": 4,
        "max_pipeline_depth": 5,
        "max_connections": 6,
        "max_connections_per_address": 2,
        "max_unfinished_bytes": 12,
        "header_timeout_s": 7.0,
        "body_timeout_s": 8.0,
        "write_timeout_s": 9.0,
        "keep_alive_s": 10.0,
    }
    config = Config.model_validate(
        {"models": str(MODELS), "limits": limits, "connection_max_age_s": 11.0}
    )

    async def scene(replica: Replica) -> Policy:
        return replica.policy

    assert within(scene, config) == Policy(
        max_body_bytes=1,
        heads=HeadLimits(2, 3, 4),
        max_pipeline_depth=5,
        max_connections=6,
        max_connections_per_address=2,
        max_unfinished_bytes=12,
        header_timeout_s=7.0,
        body_timeout_s=8.0,
        write_timeout_s=9.0,
        keep_alive_s=10.0,
        connection_max_age_s=11.0,
    )


@pytest.mark.parametrize(
    ("limits", "what"),
    [
        ({"max_tensors": 1}, None),
        ({"max_rank": 1}, "limits.max_rank"),
        ({"max_elements": 63}, "limits.max_elements"),
        ({"max_json_depth": 3}, "limits.max_json_depth"),
        ({"max_body_bytes": 100}, "limits.max_body_bytes"),
        ({"simd_from_bytes": 0}, None),
    ],
)
def test_limits_of_a_request_come_from_the_configuration(
    limits: dict[str, int], what: str | None
) -> None:
    config = Config.model_validate({"models": str(MODELS), "limits": limits})
    answer = within(infer, config)
    assert answer.status == (200 if what is None else 413 if "body" in what else 400)
    assert what is None or f"({what})" in answer.json["error"]


def test_names_come_from_the_configuration() -> None:
    async def scene(replica: Replica) -> tuple[str, str]:
        server = await ask(replica.rest, "GET", b"/v2")
        model = await ask(replica.rest, "GET", b"/v2/models/digits")
        return server.json["name"], model.json["platform"]

    config = Config(models=MODELS, server_name="triton", platform="elsewhere")
    assert within(scene, config) == ("triton", "elsewhere")


def test_what_a_request_gets_unasked_comes_from_the_configuration() -> None:
    async def scene(replica: Replica) -> IntakePolicy:
        return replica.intake._policy  # noqa: SLF001 - its effects are tests/wire/test_intake.py

    config = Config.model_validate(
        {
            "models": str(MODELS),
            "default_deadline_s": 3.0,
            "batching": {"priority_levels": 7, "default_priority": 6},
        }
    )
    policy = within(scene, config)
    assert (policy.default_deadline_s, policy.priority_levels, policy.default_priority) == (3, 7, 6)


def test_a_queue_that_is_full_refuses() -> None:
    """As many rows as one request may have always find room; others wait outside."""
    tensor = orjson.loads(sample("digits"))["inputs"][0]
    many = tensor | {"shape": [1024, 64], "data": [0] * 64 * 1024}
    body = orjson.dumps({"inputs": [many]})

    async def scene(replica: Replica) -> set[int]:
        asked = [infer(replica, body=body) for _ in range(4)]
        return {answer.status for answer in await asyncio.gather(*asked)}

    config = Config.model_validate({"models": str(MODELS), "limits": {"max_queue_rows": 1}})
    assert within(scene, config) == {200, 429}


def test_a_heavy_model_runs_in_a_thread_and_answers_alike(tmp_path: Path) -> None:
    toml = '[batching]\nmax_batch_size = 8\n[execution]\nexecutor = "thread"\ninstances = 2\n'
    config = Config(models=only(tmp_path, toml))

    async def scene(replica: Replica) -> list[Answer]:
        return list(await asyncio.gather(*[infer(replica) for _ in range(20)]))

    found = within(scene, config)
    assert {answer.status for answer in found} == {200}
    assert len({answer.body for answer in found}) == 1


async def ask_often(replica: Replica) -> set[int]:
    found = [await infer(replica) for _ in range(200)]
    return {answer.status for answer in found}


def impatient(models: Path) -> Config:
    """A loop that no model is quick enough for, though `auto` puts every model on it."""
    batching = {"inline_budget_ms": 0.000001, "inline_row_us": 1e9}
    return Config.model_validate({"models": str(models), "batching": batching})


def test_a_model_that_holds_the_loop_too_long_moves_to_a_thread(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = impatient(only(tmp_path, "[batching]\nmax_batch_size = 8\n"))
    with caplog.at_level(logging.WARNING):
        assert within(ask_often, config) == {200}
    (record,) = caplog.records
    assert record.message == (
        "digits version 1 held the event loop too long too often: it moves to a thread"
    )


def test_a_model_declared_inline_stays_on_the_loop(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    toml = '[batching]\nmax_batch_size = 8\n[execution]\nexecutor = "inline"\n'
    with caplog.at_level(logging.WARNING):
        assert within(ask_often, impatient(only(tmp_path, toml))) == {200}
    assert caplog.records == []


def test_closing_answers_what_was_accepted_and_refuses_the_rest() -> None:
    async def scene() -> tuple[int, str]:
        async with open_replica(Config(models=MODELS)) as replica:
            asked = asyncio.create_task(infer(replica))
            await asyncio.sleep(0)
        return (await asked).status, (await infer(replica)).code

    assert asyncio.run(scene()) == (200, "draining")


# what cannot be served


def opened(config: Config) -> None:
    async def scene(_replica: Replica) -> None:
        return

    within(scene, config)


def test_a_folder_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="no such folder"):
        opened(Config(models=tmp_path / "nowhere"))


def test_a_folder_without_a_model_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="holds no model"):
        opened(Config(models=tmp_path))


def test_a_model_that_declares_nonsense_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match=r"model\.toml"):
        opened(Config(models=only(tmp_path, "[batching]\nmax_batch_size = -1\n")))


def test_every_fault_is_named_at_once(tmp_path: Path) -> None:
    for model in ("a", "b"):
        (tmp_path / model / "1").mkdir(parents=True)
        (tmp_path / model / "1" / "model.onnx").write_bytes(b"nonsense")
    with pytest.raises(LoadFailed) as caught:
        opened(Config(models=tmp_path))
    assert [name in str(caught.value) for name in ("a/1", "b/1")] == [True, True]


def test_a_file_that_is_no_model_fails_to_load(tmp_path: Path) -> None:
    models = only(tmp_path, "")
    (models / "digits" / "1" / "model.onnx").write_bytes(b"nonsense")
    with pytest.raises(LoadFailed, match=r"digits/1/model\.onnx"):
        opened(Config(models=models))


def test_limits_that_nobody_set_are_those_of_the_rooms() -> None:
    limits = Config().limits
    assert Limits(simd_from_bytes=limits.simd_from_bytes) == Limits(
        max_tensors=limits.max_tensors,
        max_rank=limits.max_rank,
        max_elements=limits.max_elements,
        max_json_depth=limits.max_json_depth,
        simd_from_bytes=limits.simd_from_bytes,
    )
