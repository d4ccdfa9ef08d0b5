"""Which versions are known, which are served, and why the others are not."""

import asyncio
from pathlib import Path

import pytest

from gateway.config import Config
from gateway.core.documents import Document
from gateway.errors import (
    CannotPrepare,
    Draining,
    Malformed,
    Overloaded,
    UnknownModel,
    UnknownVersion,
)
from gateway.repository.discover import RepositoryError
from gateway.supervise.inventory import Policy
from gateway.supervise.register import Register
from gateway.supervise.steering import open_traffic
from tests.clock import play
from tests.supervise.stock import Stock, digest_of, during, settle, shared

EXPLICIT = Policy("explicit", ("m",))


@pytest.fixture
def stock(tmp_path: Path) -> Stock:
    stock = Stock(tmp_path)
    stock.put("m", "1", "one")
    stock.put("m", "2", "two")
    return stock


@pytest.fixture
def explicit(tmp_path: Path) -> Stock:
    stock = Stock(tmp_path, EXPLICIT)
    stock.put("m", "1", "one")
    stock.put("n", "1", "other")
    return stock


# the start


def test_everything_that_is_found_is_served_at_the_start(stock: Stock) -> None:
    async def scene() -> None:
        assert stock.served() == {"m/1": digest_of("one"), "m/2": digest_of("two")}
        assert stock.default("m") == "2"
        stock.check()

    during(stock, scene)


def test_one_table_says_it_all_at_the_start(stock: Stock) -> None:
    async def scene() -> None:
        assert len(stock.fleet.tables) == 2  # before, and after

    during(stock, scene)


def test_a_version_that_cannot_be_proved_harms_no_other(stock: Stock) -> None:
    stock.put("m", "3", "bad opset")

    async def scene() -> None:
        assert stock.states() == {"m/1": "READY", "m/2": "READY", "m/3": "UNAVAILABLE"}
        assert stock.fleet.table.models["m"].unready == {"3": "bad opset"}
        assert stock.default("m") == "2"
        stock.check()

    during(stock, scene)


def test_a_version_with_broken_settings_is_known_with_its_reason(stock: Stock) -> None:
    stock.put("m", "3", "three", toml="nonsense = 1")

    async def scene() -> None:
        assert stock.states()["m/3"] == "UNAVAILABLE"
        assert "nonsense" in stock.reason("m", "3")
        stock.check()

    during(stock, scene)


def test_a_model_of_which_nothing_can_be_read_is_known_with_its_reason(stock: Stock) -> None:
    stock.put("triton", "1", "one")
    (stock.root / "triton" / "config.pbtxt").write_text("no such field: 1")

    async def scene() -> None:
        entry = stock.fleet.table.models["triton"]
        assert entry.default is None
        assert entry.served == {}
        assert "config.pbtxt" in entry.unready[""]
        stock.check()
        (stock.root / "triton" / "config.pbtxt").unlink()
        await stock.inventory.refresh()
        assert stock.states()["triton/1"] == "READY"
        assert "triton/" not in stock.states()
        stock.check()

    during(stock, scene)


def test_under_explicit_control_only_the_models_of_the_start_are_loaded(explicit: Stock) -> None:
    async def scene() -> None:
        assert explicit.states() == {"m/1": "READY", "n/1": "UNAVAILABLE"}
        assert explicit.prover.proved == [("m", "1")]
        entry = explicit.fleet.table.models["n"]
        assert (entry.default, entry.unready) == (None, {"1": "not loaded"})
        explicit.check()

    during(explicit, scene)


def test_a_model_of_the_start_that_is_not_there_is_no_reason_to_stay_away(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stock = Stock(tmp_path, Policy("explicit", ("absent",)))

    async def scene() -> None:
        assert stock.states() == {}

    during(stock, scene)
    assert "absent" in caplog.text


def test_a_repository_that_is_not_there_is_said_at_once(tmp_path: Path) -> None:
    stock = Stock(tmp_path / "absent")

    async def scene() -> None:
        with pytest.raises(RepositoryError, match="no such folder"):
            await stock.inventory.start()

    during(stock, scene, start=False)


def test_without_a_row_left_a_version_is_refused(tmp_path: Path) -> None:
    stock = Stock(tmp_path, most_rows=1)
    stock.put("m", "1", "one")
    stock.put("m", "2", "two")

    async def scene() -> None:
        assert stock.states() == {"m/1": "READY", "m/2": "UNAVAILABLE"}
        assert "rows" in stock.reason("m", "2")
        stock.check()

    during(stock, scene)


# load


def test_a_loaded_version_is_served_when_the_order_returns(explicit: Stock) -> None:
    async def scene() -> None:
        await explicit.inventory.load("n")
        assert explicit.served()["n/1"] == digest_of("other")
        explicit.check()

    during(explicit, scene)


def test_a_version_is_found_by_any_spelling_of_its_number(explicit: Stock) -> None:
    async def scene() -> None:
        await explicit.inventory.load("n", "01")
        await explicit.inventory.unload("m", "001")
        assert explicit.states() == {"m/1": "UNAVAILABLE", "n/1": "READY"}

    during(explicit, scene)


def test_changed_files_take_the_place_of_the_old_ones_without_a_gap(stock: Stock) -> None:
    async def scene() -> None:
        stock.put("m", "2", "two, again")
        await stock.inventory.load("m", "2")
        assert stock.served()["m/2"] == digest_of("two, again")
        assert all("2" in table.models["m"].served for table in stock.fleet.tables[1:])
        stock.check()

    during(stock, scene)


def test_an_unchanged_version_is_proved_again_and_goes_on_as_it_is(stock: Stock) -> None:
    async def scene() -> None:
        before, tables = stock.inventory.assigned(), len(stock.fleet.tables)
        stock.put("m", "2", "two")  # touched
        await stock.inventory.load("m")
        assert stock.prover.proved[-2:] == [("m", "1"), ("m", "2")]
        assert (stock.inventory.assigned(), len(stock.fleet.tables)) == (before, tables)
        stock.check()

    during(stock, scene)


def test_an_unchanged_version_that_is_lost_while_it_is_proved_again_is_out(stock: Stock) -> None:
    async def scene() -> None:
        stock.put("m", "3", "three")
        stock.fleet.gate = asyncio.Event()
        order = asyncio.create_task(stock.inventory.load("m"))
        await settle()  # 1 and 2 are proved again, 3 is being prepared
        stock.inventory.quarantine(digest_of("two"), "no memory")
        stock.fleet.gate.set()
        with pytest.raises(CannotPrepare, match="version 2: no memory"):
            await order
        assert stock.states() == {"m/1": "READY", "m/2": "UNAVAILABLE", "m/3": "UNAVAILABLE"}
        stock.check()

    during(stock, scene)


def test_the_old_row_is_taken_back_only_after_the_table_without_it(stock: Stock) -> None:
    async def scene() -> None:
        stock.put("m", "2", "two, again")
        stock.fleet.publish_gate = asyncio.Event()
        order = asyncio.create_task(stock.inventory.load("m", "2"))
        await settle()
        assert len(stock.ledger.rows) == 3
        stock.fleet.publish_gate.set()
        await order
        stock.check()

    during(stock, scene)


def test_a_replica_that_refuses_leaves_callers_with_what_they_had(stock: Stock) -> None:
    async def scene() -> None:
        stock.put("m", "2", "two, again")
        stock.fleet.refuses[digest_of("two, again")] = "no memory"
        with pytest.raises(CannotPrepare, match="failed to load 'm': version 2: no memory"):
            await stock.inventory.load("m", "2")
        assert stock.served()["m/2"] == digest_of("two")
        assert stock.states()["m/2"] == "READY"
        assert stock.reason("m", "2") == "no memory"
        stock.check()

    during(stock, scene)


def test_a_version_that_is_refused_leaves_the_others_of_the_same_load_where_they_were(
    explicit: Stock,
) -> None:
    explicit.put("m", "2", "two")
    explicit.put("m", "3", "three")

    async def scene() -> None:
        await explicit.inventory.unload("m")
        explicit.fleet.refuses[digest_of("three")] = "no memory"
        with pytest.raises(CannotPrepare, match="version 3: no memory"):
            await explicit.inventory.load("m")
        assert explicit.served() == {}
        assert explicit.fleet.held.keys() & explicit.ledger.rows.keys() == set()
        assert "version 3 was refused" in explicit.reason("m", "2")
        explicit.check()

    during(explicit, scene)


def test_two_versions_with_the_same_files_are_two_versions(stock: Stock) -> None:
    stock.put("m", "3", "two")

    async def scene() -> None:
        assert stock.served()["m/3"] == stock.served()["m/2"]
        await stock.inventory.unload("m", "3")
        assert stock.states()["m/2"] == "READY"
        stock.check()

    during(stock, scene)


def test_without_a_version_a_load_takes_out_what_is_gone_from_disk(explicit: Stock) -> None:
    explicit.put("m", "2", "two")

    async def scene() -> None:
        explicit.take("m", "1")
        await explicit.inventory.load("m")
        assert explicit.states() == {"m/2": "READY", "n/1": "UNAVAILABLE"}
        explicit.check()

    during(explicit, scene)


def test_with_a_version_a_load_leaves_the_others_alone(explicit: Stock) -> None:
    async def scene() -> None:
        explicit.put("m", "2", "two")
        explicit.take("m", "1")
        await explicit.inventory.load("m", "2")
        assert set(explicit.served()) == {"m/1", "m/2"}
        explicit.check()

    during(explicit, scene)


@pytest.mark.parametrize(
    ("model", "version", "expected", "words"),
    [
        ("", None, Malformed, "Model name cannot be empty"),
        ("../m", None, Malformed, "model name must not contain path traversal characters"),
        ("x", None, UnknownModel, "failed to load 'x', failed to poll from model repository"),
        ("m", "9", UnknownVersion, "^Request for unknown model: 'm' version 9 is not found"),
        ("m", "..", UnknownVersion, "is not found"),
        ("m", "3", CannotPrepare, "failed to load 'm': version 3: .*nonsense"),
        ("m", None, CannotPrepare, "failed to load 'm': version 3: .*nonsense"),
    ],
)
def test_what_cannot_be_loaded_is_refused_by_name(
    stock: Stock, model: str, version: str | None, expected: type[Exception], words: str
) -> None:
    async def scene() -> None:
        stock.put("m", "3", "three", toml="nonsense = 1")
        before = stock.served()
        with pytest.raises(expected, match=words):
            await stock.inventory.load(model, version)
        assert stock.served() == before
        stock.check()

    during(stock, scene)


def test_a_model_whose_policy_selects_nothing_cannot_be_loaded(explicit: Stock) -> None:
    async def scene() -> None:
        config = '{"version_policy": {"specific": {"versions": [9]}}}'
        with pytest.raises(CannotPrepare, match="no version is available"):
            await explicit.inventory.load("n", None, {"config": config})

    during(explicit, scene)


# load, with what the request brings


def test_a_configuration_that_comes_with_the_request_is_served(explicit: Stock) -> None:
    async def scene() -> None:
        await explicit.inventory.load("n", None, {"config": '{"max_batch_size": "16"}'})
        assert explicit.served()["n/1"] == digest_of("other", 16)
        (view,) = (one for one in explicit.inventory.views() if one.model == "n")
        assert view.max_batch_size == 16
        await explicit.inventory.refresh()
        assert explicit.served()["n/1"] == digest_of("other", 16)
        await explicit.inventory.load("n")
        assert explicit.served()["n/1"] == digest_of("other")
        explicit.check()

    during(explicit, scene)


FILES = {"config": "{}", "file:5/model.onnx": "Zml2ZQ=="}  # "five"


def test_files_that_come_with_the_request_live_as_long_as_they_are_served(
    explicit: Stock,
) -> None:
    async def scene() -> None:
        await explicit.inventory.load("m", None, FILES)
        assert explicit.served() == {"m/5": digest_of("five")}
        assert explicit.states()["m/1"] == "UNAVAILABLE"
        (one,) = explicit.inventory.assigned()
        assert one.proof.found.onnx.read_text() == "five"
        assert not one.proof.found.folder.is_relative_to(explicit.root)
        await explicit.inventory.unload("m")
        assert not one.proof.found.folder.exists()
        assert explicit.states() == {"m/1": "UNAVAILABLE", "n/1": "UNAVAILABLE"}
        explicit.check()

    during(explicit, scene)


def test_files_that_are_refused_leave_nothing_behind(explicit: Stock) -> None:
    async def scene() -> None:
        explicit.fleet.refuses[digest_of("five")] = "no memory"
        with pytest.raises(CannotPrepare, match="no memory"):
            await explicit.inventory.load("new", None, FILES)
        assert "new/5" not in explicit.states()
        assert explicit.inventory._home is not None  # noqa: SLF001 - nobody else names it
        assert list(explicit.inventory._home.iterdir()) == []  # noqa: SLF001 - as above
        explicit.check()

    during(explicit, scene)
    assert explicit.inventory._home is not None  # noqa: SLF001 - as above
    assert not explicit.inventory._home.exists()  # noqa: SLF001 - as above


def test_a_file_that_would_lie_elsewhere_is_refused(explicit: Stock) -> None:
    async def scene() -> None:
        with pytest.raises(Malformed, match="failed to load 'm'"):
            await explicit.inventory.load("m", None, {"file:../../x": "Zml2ZQ=="})
        explicit.check()

    during(explicit, scene)


# unload


def test_an_unloaded_version_is_known_and_not_served(stock: Stock) -> None:
    async def scene() -> None:
        await stock.inventory.unload("m", "2")
        assert stock.states() == {"m/1": "READY", "m/2": "UNAVAILABLE"}
        assert stock.reason("m", "2") == "unloaded"
        assert stock.default("m") == "1"
        stock.check()
        await stock.inventory.unload("m")
        assert stock.served() == {}
        assert stock.default("m") is None
        stock.check()

    during(stock, scene)


def test_a_version_is_unloading_until_no_replica_answers_by_it(stock: Stock) -> None:
    async def scene() -> None:
        stock.fleet.publish_gate = asyncio.Event()
        order = asyncio.create_task(stock.inventory.unload("m", "2"))
        await settle()
        assert stock.states()["m/2"] == "UNLOADING"
        assert stock.fleet.table.models["m"].unready == {"2": "being unloaded"}
        stock.fleet.publish_gate.set()
        await order
        assert stock.states()["m/2"] == "UNAVAILABLE"

    during(stock, scene)


def test_what_is_not_known_cannot_be_unloaded(stock: Stock) -> None:
    async def scene() -> None:
        with pytest.raises(UnknownModel, match=r"^Request for unknown model: 'x' is not found"):
            await stock.inventory.unload("x")
        with pytest.raises(UnknownVersion, match=r"^Request for unknown model: 'm' version 9 is"):
            await stock.inventory.unload("m", "9")

    during(stock, scene)


# refresh


def test_a_refresh_follows_the_disk(stock: Stock) -> None:
    async def scene() -> None:
        stock.take("m", "1")
        stock.put("m", "2", "two, again")
        stock.put("m", "3", "three")
        stock.put("n", "1", "other")
        await stock.inventory.refresh()
        assert stock.served() == {
            "m/2": digest_of("two, again"),
            "m/3": digest_of("three"),
            "n/1": digest_of("other"),
        }
        stock.check()

    during(stock, scene)


def test_a_refresh_of_the_same_files_does_nothing(stock: Stock) -> None:
    async def scene() -> None:
        tables, proved = len(stock.fleet.tables), len(stock.prover.proved)
        await stock.inventory.refresh()
        assert (len(stock.fleet.tables), len(stock.prover.proved)) == (tables, proved)

    during(stock, scene)


def test_a_fault_of_one_model_keeps_no_other_from_following(stock: Stock) -> None:
    async def scene() -> None:
        stock.put("a", "1", "bad")
        stock.put("m", "2", "two", toml="nonsense = 1")
        stock.put("z", "1", "last")
        await stock.inventory.refresh()
        assert stock.states() == {
            "a/1": "UNAVAILABLE",
            "m/1": "READY",
            "m/2": "READY",
            "z/1": "READY",
        }
        assert "nonsense" in stock.reason("m", "2")
        stock.check()

    during(stock, scene)


def test_what_failed_is_tried_again_and_what_was_taken_out_is_not(stock: Stock) -> None:
    async def scene() -> None:
        await stock.inventory.unload("m", "1")
        stock.put("m", "3", "three")
        stock.fleet.refuses[digest_of("three")] = "no memory"
        await stock.inventory.refresh()
        assert stock.reason("m", "3") == "no memory"
        stock.fleet.refuses.clear()
        await stock.inventory.refresh()
        assert stock.states() == {"m/1": "UNAVAILABLE", "m/2": "READY", "m/3": "READY"}
        stock.check()

    during(stock, scene)


def test_a_quarantine_lasts_until_the_files_change(stock: Stock) -> None:
    async def scene() -> None:
        stock.inventory.quarantine(digest_of("two"), "it killed")
        await stock.inventory.refresh()
        assert stock.states()["m/2"] == "UNAVAILABLE"
        stock.put("m", "2", "two, mended")
        await stock.inventory.refresh()
        assert stock.states()["m/2"] == "READY"
        stock.check()

    during(stock, scene)


def triton(stock: Stock, *versions: tuple[str, str]) -> None:
    for version, text in versions:
        stock.put("t", version, text)
    (stock.root / "t" / "config.pbtxt").write_text('name: "t"\nbackend: "onnxruntime"\n')


def test_a_newer_version_takes_the_place_that_the_policy_has(stock: Stock) -> None:
    triton(stock, ("1", "one"))

    async def scene() -> None:
        stock.put("t", "2", "two")
        await stock.inventory.refresh()
        assert stock.default("t") == "2"
        assert "t/1" not in stock.states()
        assert all(table.models["t"].served for table in stock.fleet.tables[1:])
        stock.check()
        stock.take("t", "2")
        await stock.inventory.refresh()
        assert stock.default("t") == "1"
        stock.check()

    during(stock, scene)


def test_a_newer_version_that_is_refused_leaves_the_older_one_in_its_place(stock: Stock) -> None:
    triton(stock, ("1", "one"))

    async def scene() -> None:
        stock.put("t", "2", "bad")
        await stock.inventory.refresh()
        assert stock.default("t") == "1"
        assert stock.states()["t/2"] == "UNAVAILABLE"
        stock.check()

    during(stock, scene)


def test_a_repository_that_vanished_changes_nothing(stock: Stock) -> None:
    async def scene() -> None:
        before = stock.served()
        stock.root.rename(stock.root.with_name("elsewhere"))
        with pytest.raises(RepositoryError):
            await stock.inventory.refresh()
        with pytest.raises(CannotPrepare, match="failed to poll from model repository"):
            await stock.inventory.load("m")
        assert stock.served() == before
        stock.check()

    during(stock, scene)


def test_under_explicit_control_a_refresh_only_looks(explicit: Stock) -> None:
    async def scene() -> None:
        explicit.put("m", "1", "one, again")
        explicit.put("m", "2", "two")
        explicit.take("n", "1")
        await explicit.inventory.refresh()
        assert explicit.states() == {"m/1": "READY", "m/2": "UNAVAILABLE"}
        assert explicit.served() == {"m/1": digest_of("one")}
        explicit.check()

    during(explicit, scene)


# lacking and quarantine


def test_what_one_replica_lacks_is_served_by_the_others_and_the_index_says_so(
    stock: Stock,
) -> None:
    async def scene() -> None:
        stock.fleet.lacks[digest_of("two")] = "replica 1 cannot load it: no memory"
        assert stock.states()["m/2"] == "READY"
        assert stock.reason("m", "2") == "replica 1 cannot load it: no memory"
        assert stock.reason("m", "1") == ""
        stock.check()

    during(stock, scene)


def test_a_load_of_what_one_replica_lacks_is_done_when_it_has_it(stock: Stock) -> None:
    async def scene() -> None:
        digest = digest_of("two")
        stock.fleet.lacks[digest] = "replica 1 cannot load it: no memory"
        stock.fleet.refuses[digest] = "no memory"
        with pytest.raises(CannotPrepare, match="replica 1 cannot load it"):
            await stock.inventory.load("m", "2")
        assert stock.states()["m/2"] == "READY"
        stock.fleet.refuses.clear()
        await stock.inventory.load("m", "2")
        assert stock.reason("m", "2") == ""
        stock.check()

    during(stock, scene)


def test_a_quarantined_version_stays_the_default_that_nobody_may_ask_for(stock: Stock) -> None:
    async def scene() -> None:
        assert stock.inventory.quarantine(digest_of("two"), "it killed twice")
        assert not stock.inventory.quarantine(digest_of("two"), "it killed twice")
        assert not stock.inventory.quarantine("unheard of", "")
        await settle()
        entry = stock.fleet.table.models["m"]
        assert (entry.default, entry.unready) == ("2", {"2": "it killed twice"})
        stock.check()
        await stock.inventory.load("m", "2")
        assert stock.states()["m/2"] == "READY"
        assert stock.default("m") == "2"
        stock.check()

    during(stock, scene)


def test_a_version_in_processes_of_its_own_is_no_suspect(stock: Stock) -> None:
    """No replica dies of it, whatever ran when one did."""

    async def scene() -> None:
        stock.put("m", "3", "three", '[execution]\nexecutor = "process"')
        await stock.inventory.load("m", "3")
        assert not stock.inventory.quarantine(digest_of("three"), "it killed twice")
        assert stock.states()["m/3"] == "READY"
        stock.check()

    during(stock, scene)


def test_an_unload_ends_a_quarantine(stock: Stock) -> None:
    async def scene() -> None:
        stock.inventory.quarantine(digest_of("two"), "it killed twice")
        await stock.inventory.unload("m", "2")
        assert stock.default("m") == "1"
        assert stock.reason("m", "2") == "unloaded"
        stock.check()

    during(stock, scene)


def test_what_is_condemned_while_it_is_loaded_does_not_arrive(stock: Stock) -> None:
    async def scene() -> None:
        stock.put("m", "3", "three")
        stock.fleet.gate = asyncio.Event()
        order = asyncio.create_task(stock.inventory.load("m", "3"))
        await settle()
        assert stock.states()["m/3"] == "LOADING"
        assert stock.inventory.quarantine(digest_of("three"), "it killed")
        stock.fleet.gate.set()
        with pytest.raises(CannotPrepare, match="it killed"):
            await order
        assert stock.states()["m/3"] == "UNAVAILABLE"
        stock.check()

    during(stock, scene)


def test_a_version_that_is_lost_while_it_is_replaced_is_out_until_its_replacement_arrives(
    stock: Stock,
) -> None:
    async def scene() -> None:
        stock.put("m", "2", "two, again")
        stock.fleet.gate = asyncio.Event()
        order = asyncio.create_task(stock.inventory.load("m", "2"))
        await settle()
        stock.inventory.quarantine(digest_of("two"), "it killed")
        await settle()
        assert stock.served() == {"m/1": digest_of("one")}
        stock.fleet.gate.set()
        await order
        assert stock.served()["m/2"] == digest_of("two, again")
        stock.check()

    during(stock, scene)


# orders


def test_orders_are_done_one_at_a_time_in_their_order(explicit: Stock) -> None:
    async def scene() -> None:
        explicit.prover.gate = asyncio.Event()
        orders = [
            asyncio.create_task(explicit.inventory.load("n")),
            asyncio.create_task(explicit.inventory.unload("n")),
            asyncio.create_task(explicit.inventory.load("n")),
        ]
        await settle()
        assert explicit.prover.proved == [("m", "1"), ("n", "1")]
        assert explicit.states()["n/1"] == "LOADING"
        explicit.prover.gate.set()
        await asyncio.gather(*orders)
        assert explicit.states()["n/1"] == "READY"
        explicit.check()

    during(explicit, scene)


def test_an_order_is_done_though_its_caller_went_away(explicit: Stock) -> None:
    async def scene() -> None:
        explicit.prover.gate = asyncio.Event()
        order = asyncio.create_task(explicit.inventory.load("n"))
        await settle()
        order.cancel()
        await settle()
        explicit.prover.gate.set()
        await settle()
        assert explicit.states()["n/1"] == "READY"
        explicit.check()

    during(explicit, scene)


def test_more_orders_than_can_wait_are_refused(explicit: Stock) -> None:
    async def scene() -> None:
        explicit.prover.gate = asyncio.Event()
        orders = [asyncio.create_task(explicit.inventory.load("n"))]
        await settle()  # it runs: it does not wait any more
        orders += [asyncio.create_task(explicit.inventory.load("n")) for _ in range(65)]
        await settle()
        explicit.prover.gate.set()
        outcomes = await asyncio.gather(*orders, return_exceptions=True)
        assert [type(one) for one in outcomes].count(Overloaded) == 1
        explicit.check()

    during(explicit, scene)


def test_closing_fails_what_runs_and_what_waits(explicit: Stock) -> None:
    async def scene() -> None:
        async with explicit.inventory:
            await explicit.inventory.start()
            explicit.prover.gate = asyncio.Event()
            orders = [asyncio.create_task(explicit.inventory.load("n")) for _ in range(2)]
            await settle()
        outcomes = await asyncio.gather(*orders, return_exceptions=True)
        assert [type(one) for one in outcomes] == [Draining, Draining]
        with pytest.raises(Draining):
            await explicit.inventory.refresh()
        assert explicit.states()["n/1"] == "UNAVAILABLE"
        assert len(explicit.ledger.rows) == 1

    play(scene)


# views


def test_an_operator_sees_what_is_known_of_a_version(stock: Stock) -> None:
    stock.put("m", "2", "heavy", toml="[batching]\nmax_batch_size = 8")
    stock.put("n", "1", "bad")

    async def scene() -> None:
        one, two, other = stock.inventory.views()
        assert (one.executor, one.max_batch_size, one.is_default) == ("inline", 0, False)
        assert (two.executor, two.max_batch_size, two.is_default) == ("thread", 8, True)
        assert two.folder == stock.root / "m" / "2"
        assert (other.digest, other.executor, other.max_batch_size) == (None, None, None)
        assert stock.inventory.index(ready=True) == [
            {"name": "m", "version": "1", "state": "READY", "reason": ""},
            {"name": "m", "version": "2", "state": "READY", "reason": ""},
        ]
        assert stock.inventory.index(ready=False)[2] == {
            "name": "n",
            "version": "1",
            "state": "UNAVAILABLE",
            "reason": "bad",
        }

    during(stock, scene)


# routing documents


def test_an_adopted_document_is_in_force_with_a_row_for_each_arm(stock: Stock) -> None:
    document = shared("m", 1, {"stable": ("1", 9500), "canary": ("2", 500)})

    async def scene() -> None:
        before = stock.inventory.assigned()
        await stock.inventory.adopt(document)
        entry = stock.fleet.table.models["m"]
        assert (entry.document, entry.default) == (document, "1")
        rows = {name: stock.ledger.rows[row] for name, row in entry.rows.items()}
        assert rows == {
            "stable": ("m", "1", digest_of("one")),
            "canary": ("m", "2", digest_of("two")),
        }
        assert {stock.ledger.arms[row] for row in entry.rows.values()} == {
            ("stable", 1),
            ("canary", 1),
        }
        assert stock.inventory.assigned() == before
        assert stock.inventory.documents() == {"m": document}
        stock.check()

    during(stock, scene)


def test_a_new_revision_has_rows_of_its_own_and_gives_the_old_ones_back(stock: Stock) -> None:
    async def scene() -> None:
        await stock.inventory.adopt(shared("m", 1, {"stable": ("1", 10_000)}))
        old = stock.fleet.table.models["m"].rows
        await stock.inventory.adopt(shared("m", 2, {"stable": ("1", 10_000)}))
        new = stock.fleet.table.models["m"].rows
        assert set(old.values()).isdisjoint(new.values())
        assert set(old.values()).isdisjoint(stock.ledger.rows)
        stock.check()

    during(stock, scene)


def test_a_replaced_version_has_its_arms_counted_anew(stock: Stock) -> None:
    async def scene() -> None:
        await stock.inventory.adopt(shared("m", 1, {"a": ("1", 5000), "b": ("2", 5000)}))
        old = stock.fleet.table.models["m"].rows
        stock.put("m", "1", "one, again")
        await stock.inventory.load("m", "1")
        new = stock.fleet.table.models["m"].rows
        assert (new["a"] == old["a"], new["b"] == old["b"]) == (False, True)
        assert stock.ledger.rows[new["a"]] == ("m", "1", digest_of("one, again"))
        stock.check()

    during(stock, scene)


def test_an_older_document_and_one_of_nobody_change_nothing(stock: Stock) -> None:
    async def scene() -> None:
        await stock.inventory.adopt(shared("m", 2, {"stable": ("1", 10_000)}))
        tables = len(stock.fleet.tables)
        await stock.inventory.adopt(shared("m", 1, {"stable": ("2", 10_000)}))
        await stock.inventory.adopt(shared("nobody", 1, {"stable": ("2", 10_000)}))
        assert stock.default("m") == "1"
        assert len(stock.fleet.tables) == tables
        assert list(stock.inventory.documents()) == ["m"]

    during(stock, scene)


def test_where_there_is_no_row_for_an_arm_it_is_counted_with_its_version(tmp_path: Path) -> None:
    stock = Stock(tmp_path, most_rows=3)
    stock.put("m", "1", "one")
    stock.put("m", "2", "two")

    async def scene() -> None:
        await stock.inventory.adopt(shared("m", 1, {"a": ("1", 5000), "b": ("2", 5000)}))
        assert list(stock.fleet.table.models["m"].rows) == ["a"]
        stock.check()

    during(stock, scene)


class Sighted:
    """Writes down of which models it was asked, and adopts a document for each new one."""

    def __init__(self) -> None:
        self.seen: list[set[str]] = []

    async def see(self, register: Register) -> None:
        await asyncio.sleep(0)
        self.seen.append(set(register.stale()))
        for model in register.stale():
            if register.document(model) is None:
                register.adopt(shared(model, 1, {"stable": ("1", 10_000)}))


def sighted(root: Path) -> tuple[Stock, Sighted]:
    sights = Sighted()
    stock = Stock(root, sight=sights.see)
    stock.put("m", "1", "one")
    stock.put("m", "2", "two")
    return stock, sights


def test_what_is_about_to_be_published_is_seen_first(tmp_path: Path) -> None:
    stock, sights = sighted(tmp_path)

    async def scene() -> None:
        assert sights.seen == [{"m"}]
        assert len(stock.fleet.tables) == 2  # and no table without its document
        assert stock.default("m") == "1"
        await stock.inventory.unload("m", "2")
        assert {"m"} in sights.seen[1:]
        count = len(sights.seen)
        assert stock.inventory.quarantine(digest_of("one"), "it killed")
        await settle()
        assert stock.fleet.table.models["m"].served == {}
        assert len(sights.seen) == count  # what killed is out before any store is asked
        stock.check()

    during(stock, scene)


def test_a_model_whose_first_document_is_not_written_yet_is_not_ready(tmp_path: Path) -> None:
    async def blind(_: Register) -> None:
        """See nothing, as while a store takes its time."""

    stock = Stock(tmp_path, sight=blind)
    stock.put("m", "1", "one")

    async def scene() -> None:
        assert stock.states() == {"m/1": "LOADING"}
        assert stock.reason("m", "1") == "its first routing document is being written"
        assert stock.default("m") is None
        await stock.inventory.adopt(shared("m", 1, {"stable": ("1", 10_000)}))
        assert stock.states() == {"m/1": "READY"}
        stock.check()

    during(stock, scene)


def test_a_model_whose_first_document_cannot_be_written_is_ready_by_version_alone(
    tmp_path: Path,
) -> None:
    async def away(register: Register) -> None:
        register.waive("m", "the store is away")

    stock = Stock(tmp_path, sight=away)
    stock.put("m", "1", "one")

    async def scene() -> None:
        assert stock.states() == {"m/1": "READY"}
        assert stock.default("m") is None
        assert stock.inventory.documents() == {}
        stock.check()

    during(stock, scene)


def test_a_first_sight_is_on_the_disk_before_callers_are_answered_by_it(tmp_path: Path) -> None:
    """With the real traffic, store and audit; a second start writes nothing."""
    config = Config.model_validate({"state": {"dir": str(tmp_path / "state")}})

    async def start() -> tuple[Document, tuple[str, ...]]:
        async with open_traffic(config) as traffic:
            stock = Stock(tmp_path / "models", sight=traffic.see)
            for version in ("1", "2"):
                stock.put("m", version, f"it is {version}")
            traffic.introduce(stock.inventory, stock.fleet.lacking)
            async with stock.inventory:
                await traffic.start()
                await stock.inventory.start()
                await traffic.settle()
                stock.check()
                document = stock.fleet.table.models["m"].document
                assert document is not None
                assert await traffic.revisions("m") == (document,)
                entries = await traffic.audited(10, None)
                return document, tuple(one.action for one in entries)

    first = asyncio.run(start())
    assert [(one.name, one.version) for one in first[0].variants] == [("stable", "2")]
    assert first[1] == ("first_sight",)
    (tmp_path / "models" / "m" / "3").mkdir()
    (tmp_path / "models" / "m" / "3" / "model.onnx").write_text("three")
    assert asyncio.run(start()) == first
