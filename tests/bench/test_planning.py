import asyncio
from collections.abc import Callable

from bench import planning
from bench.deciding import BY_HEADER
from bench.planning import Held
from bench.stages import a_record
from gateway.core.ranges import BUCKETS
from gateway.types import Arm


def played(scene: Callable[[Held], None], models: int = 3) -> None:
    """Play a scene with so many models held, on a loop for their batchers."""

    async def stage() -> None:
        held = planning.held_of(models)
        scene(held)
        await planning.close(held)

    asyncio.run(stage())


def test_each_model_has_a_route_of_four_arms() -> None:
    def scene(held: Held) -> None:
        flow = planning.plan(held, planning.table_of(held, None), a_record()).flow
        assert list(flow.routes) == ["model-0", "model-1", "model-2"]
        arms = flow.routes["model-1"].arms
        assert [arm.version.version for arm in arms if isinstance(arm, Arm)] == ["1", "2", "3", "4"]

    played(scene)


def test_a_document_shares_out_all_buckets() -> None:
    document = planning.document_of("m", BY_HEADER)
    assert sum(piece.stop - piece.start for piece in document.pieces) == BUCKETS


def test_a_change_gives_one_model_other_arms_and_leaves_the_others_theirs() -> None:
    def scene(held: Held) -> None:
        planned = planning.plan(held, planning.table_of(held, None), a_record())
        before = dict(planned.flow.routes)
        changed = planning.changed(planning.table_of(held, None), "model-1")
        planning.follow(planned, held, changed)
        after = planned.flow.routes
        assert after["model-1"].revision == 2
        assert set(after["model-1"].arms).isdisjoint(before["model-1"].arms)
        assert after["model-0"] is before["model-0"]
        assert after["model-2"] is before["model-2"]

    played(scene)


def test_every_model_is_asked_for_with_users_of_its_own() -> None:
    asked = planning.asked_of(["a", "b", "c"])
    assert {model for model, _ in asked} == {"a", "b", "c"}
    assert len({headers for _, headers in asked}) == planning.DECISIONS


def test_figures_come_by_number_of_models() -> None:
    seen = asyncio.run(planning.measure([1, 2], repeats=1))
    assert list(seen) == ["1", "2"]
    for figures in seen.values():
        assert figures.keys() == {"bytes", "weight", "sticky", "heard_s", "anew_s", "one_s"}
        assert all(figure > 0 for (figure,) in figures.values())
