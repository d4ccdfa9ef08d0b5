"""What lies on disk, compared with what is known: who comes, who stays, who goes."""

import logging
from pathlib import Path

import pytest

from gateway.errors import CannotPrepare, UnknownVersion
from gateway.supervise.inventory import Policy
from tests.supervise.stock import Stock, digest_of, during, shared

EXPLICIT = Policy("explicit")


@pytest.fixture
def stock(tmp_path: Path) -> Stock:
    return Stock(tmp_path)


@pytest.fixture
def explicit(tmp_path: Path) -> Stock:
    return Stock(tmp_path, EXPLICIT)


def declare(stock: Stock, text: str, **versions: str) -> None:
    """Write the model `t` as Triton wants it."""
    for version, content in versions.items():
        stock.put("t", version.removeprefix("v"), content)
    (stock.root / "t").mkdir(exist_ok=True)
    (stock.root / "t" / "config.pbtxt").write_text(text)


def specific(*versions: int) -> str:
    return f"version_policy {{ specific {{ versions: {list(versions)} }} }}"


# versions that no policy chooses


def test_a_version_that_no_policy_chooses_is_not_known_until_somebody_asks_for_it(
    stock: Stock,
) -> None:
    declare(stock, "", v1="one", v2="two")

    async def scene() -> None:
        assert stock.states() == {"t/2": "READY"}
        await stock.inventory.load("t", "1")
        assert stock.served() == {"t/1": digest_of("one"), "t/2": digest_of("two")}
        assert stock.default("t") == "2"
        stock.check()
        with pytest.raises(UnknownVersion):
            await stock.inventory.load("t", "3")

    during(stock, scene)


def test_a_load_may_bring_the_policy_that_chooses_it(explicit: Stock) -> None:
    declare(explicit, "", v1="one", v2="two")

    async def scene() -> None:
        config = '{"version_policy": {"specific": {"versions": [1]}}}'
        await explicit.inventory.load("t", None, {"config": config})
        assert explicit.served() == {"t/1": digest_of("one")}
        await explicit.inventory.load("t")
        assert explicit.served() == {"t/2": digest_of("two")}
        explicit.check()

    during(explicit, scene)


def test_what_was_asked_for_stays_and_follows_its_files(stock: Stock) -> None:
    declare(stock, "", v1="one", v2="two")

    async def scene() -> None:
        await stock.inventory.load("t", "1")
        stock.put("t", "3", "three")
        await stock.inventory.refresh()
        assert stock.served() == {"t/1": digest_of("one"), "t/3": digest_of("three")}
        stock.put("t", "1", "one, again")
        await stock.inventory.refresh()
        assert stock.served()["t/1"] == digest_of("one, again")
        stock.take("t", "1")
        await stock.inventory.refresh()
        assert stock.states() == {"t/3": "READY"}
        stock.check()

    during(stock, scene)


def test_what_was_asked_for_goes_when_the_policy_is_asked_for(stock: Stock) -> None:
    declare(stock, "", v1="one", v2="two")

    async def scene() -> None:
        await stock.inventory.load("t", "1")
        await stock.inventory.load("t")
        assert stock.served() == {"t/2": digest_of("two")}
        stock.check()

    during(stock, scene)


def test_what_the_policy_does_not_choose_any_more_is_taken_out(stock: Stock) -> None:
    declare(stock, specific(1, 2), v1="one", v2="two")

    async def scene() -> None:
        declare(stock, specific(2))
        await stock.inventory.refresh()
        assert stock.states() == {"t/2": "READY"}
        stock.check()

    during(stock, scene)


def test_what_was_chosen_stays_while_what_takes_its_place_is_faulty(stock: Stock) -> None:
    """All of a model arrives, or nothing changes."""
    declare(stock, "", v1="one")

    async def scene() -> None:
        stock.put("t", "2", "two", toml="")
        await stock.inventory.refresh()
        assert stock.states() == {"t/1": "READY", "t/2": "UNAVAILABLE"}
        (stock.root / "t" / "2" / "model.toml").unlink()
        await stock.inventory.refresh()
        assert stock.states() == {"t/2": "READY"}
        stock.check()

    during(stock, scene)


def test_the_fault_of_a_version_that_nobody_chose_is_told_to_who_asks_for_it(
    stock: Stock,
) -> None:
    declare(stock, "", v1="one", v2="two")
    (stock.root / "t" / "1" / "model.toml").write_text("")

    async def scene() -> None:
        assert stock.states() == {"t/2": "READY"}
        await stock.inventory.load("t")
        with pytest.raises(CannotPrepare, match=r"version 1: .*one of the two must go"):
            await stock.inventory.load("t", "1")
        stock.check()

    during(stock, scene)


# versions that are absent or faulty


def test_a_version_that_is_absent_keeps_no_other_from_being_loaded(explicit: Stock) -> None:
    declare(explicit, specific(1, 3), v1="one")

    async def scene() -> None:
        await explicit.inventory.load("t")
        assert explicit.states() == {"t/1": "READY", "t/3": "UNAVAILABLE"}
        assert "which is not there" in explicit.reason("t", "3")
        explicit.check()

    during(explicit, scene)


def test_where_all_that_is_chosen_is_absent_the_refusal_says_so(explicit: Stock) -> None:
    declare(explicit, specific(3), v1="one")

    async def scene() -> None:
        with pytest.raises(CannotPrepare, match=r"no version is available: version 3: .*not there"):
            await explicit.inventory.load("t")

    during(explicit, scene)


def test_a_version_that_is_chosen_and_faulty_refuses_the_whole_load(explicit: Stock) -> None:
    declare(explicit, specific(1, 2), v1="one", v2="two")
    (explicit.root / "t" / "2" / "model.toml").write_text("")

    async def scene() -> None:
        with pytest.raises(CannotPrepare, match=r"version 2: .*one of the two must go"):
            await explicit.inventory.load("t")
        await explicit.inventory.load("t", "1")
        assert explicit.served() == {"t/1": digest_of("one")}
        explicit.check()

    during(explicit, scene)


def test_a_version_whose_files_went_is_taken_out_though_a_policy_names_it(stock: Stock) -> None:
    declare(stock, specific(1, 3), v1="one", v3="three")

    async def scene() -> None:
        stock.take("t", "3")
        await stock.inventory.refresh()
        assert stock.served() == {"t/1": digest_of("one")}
        await stock.inventory.refresh()
        assert "which is not there" in stock.reason("t", "3")
        stock.check()

    during(stock, scene)


# what is tried again


def test_a_replacement_that_was_refused_is_tried_again_at_the_next_look(stock: Stock) -> None:
    stock.put("m", "1", "one")

    async def scene() -> None:
        stock.put("m", "1", "one, again")
        stock.fleet.refuses[digest_of("one, again")] = "no memory"
        await stock.inventory.refresh()
        assert stock.served() == {"m/1": digest_of("one")}
        assert stock.reason("m", "1") == "no memory"
        stock.fleet.refuses.clear()
        await stock.inventory.refresh()
        assert stock.served() == {"m/1": digest_of("one, again")}
        assert stock.reason("m", "1") == ""
        stock.check()

    during(stock, scene)


# what a configuration says in vain


def test_what_has_no_effect_is_told_once_a_model(
    stock: Stock, caplog: pytest.LogCaptureFixture
) -> None:
    config = "version_policy { all { } } response_cache { enable: true }"
    declare(stock, config, v1="one", v2="two")

    def told() -> list[str]:
        return [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]

    async def scene() -> None:
        (note,) = told()
        assert note.startswith("t: $.response_cache has no effect: ")
        await stock.inventory.refresh()
        assert told() == [note]
        declare(stock, config + " instance_group { kind: KIND_GPU }")
        await stock.inventory.refresh()
        assert told()[1:] == ["t: $.instance_group[0].kind: KIND_GPU runs on the CPU here"]
        await stock.inventory.refresh()
        assert len(told()) == 2

    during(stock, scene)


# versions that a routing document names


def test_what_a_document_names_is_loaded_though_no_policy_chooses_it(stock: Stock) -> None:
    declare(stock, "", v1="one", v2="two")

    async def scene() -> None:
        await stock.inventory.adopt(shared("t", 1, {"stable": ("1", 10_000)}))
        await stock.inventory.start()
        assert stock.served() == {"t/1": digest_of("one"), "t/2": digest_of("two")}
        assert stock.default("t") == "1"
        stock.check()

    during(stock, scene, start=False)


def test_what_a_document_names_and_cannot_be_loaded_is_known_with_its_reason(stock: Stock) -> None:
    declare(stock, "", v1="bad opset", v2="two")

    async def scene() -> None:
        await stock.inventory.adopt(shared("t", 1, {"stable": ("1", 10_000)}))
        await stock.inventory.start()
        assert stock.states() == {"t/1": "UNAVAILABLE", "t/2": "READY"}
        assert stock.reason("t", "1") == "bad opset"
        stock.check()

    during(stock, scene, start=False)


def test_what_a_document_names_stays_when_its_policy_chooses_another_one(stock: Stock) -> None:
    """Or a newer version on disk would take the calls' version away."""
    declare(stock, "", v2="two")

    async def scene() -> None:
        await stock.inventory.adopt(shared("t", 1, {"stable": ("2", 10_000)}))
        stock.put("t", "3", "three")
        await stock.inventory.refresh()
        assert stock.served() == {"t/2": digest_of("two"), "t/3": digest_of("three")}
        assert stock.default("t") == "2"
        await stock.inventory.refresh()
        assert stock.states() == {"t/2": "READY", "t/3": "READY"}
        assert stock.prover.proved == [("t", "2"), ("t", "3")]  # its files are the same
        stock.check()

    during(stock, scene)


def test_what_no_document_names_any_more_goes_with_its_policy(stock: Stock) -> None:
    declare(stock, "", v2="two")

    async def scene() -> None:
        await stock.inventory.adopt(shared("t", 1, {"stable": ("2", 10_000)}))
        stock.put("t", "3", "three")
        await stock.inventory.refresh()
        await stock.inventory.adopt(shared("t", 2, {"stable": ("3", 10_000)}))
        await stock.inventory.refresh()
        assert stock.served() == {"t/3": digest_of("three")}
        stock.check()

    during(stock, scene)


def test_what_a_document_names_goes_with_its_files(stock: Stock) -> None:
    declare(stock, "", v1="one", v2="two")

    async def scene() -> None:
        await stock.inventory.adopt(shared("t", 1, {"a": ("1", 5000), "b": ("2", 5000)}))
        await stock.inventory.refresh()
        stock.take("t", "1")
        await stock.inventory.refresh()
        assert stock.states() == {"t/2": "READY"}
        stock.check()

    during(stock, scene)


def test_what_was_asked_for_stays_though_a_document_named_it_for_a_while(stock: Stock) -> None:
    declare(stock, "", v1="one", v2="two")

    async def scene() -> None:
        await stock.inventory.load("t", "1")
        for revision, version in enumerate(("1", "2"), 1):
            await stock.inventory.adopt(shared("t", revision, {"stable": (version, 10_000)}))
            await stock.inventory.refresh()
        assert stock.states() == {"t/1": "READY", "t/2": "READY"}
        assert len(stock.prover.proved) == 2
        stock.check()

    during(stock, scene)


def test_what_a_document_named_at_the_start_goes_when_none_does(stock: Stock) -> None:
    declare(stock, "", v1="one", v2="two")

    async def scene() -> None:
        await stock.inventory.adopt(shared("t", 1, {"stable": ("1", 10_000)}))
        await stock.inventory.start()
        await stock.inventory.adopt(shared("t", 2, {"stable": ("2", 10_000)}))
        await stock.inventory.refresh()
        assert stock.states() == {"t/2": "READY"}
        stock.check()

    during(stock, scene, start=False)
