"""Processes: the executor that runs a version in processes of its own.

Job    give each batch to an instance that is free; have what a process died of tried again in
       one instance alone.
Life   `async with`: entering returns when every instance has loaded the version, leaving when
       every process is reaped.
Never  is the harm of a replica: what crashes, hangs or eats memory is a process, and another
       follows it. Loses two processes to one batch at once.

Theory of operation. Nothing is queued here: `room` hears how many batches may be under way,
and whoever cuts batches cuts one when an instance is free for it. A batch whose process died
is answered with WorkerLost. Its instance is the *refuge* from then on: whoever lost a batch
tries it again there, by `run_suspects` or `wait_for_suspects`, while the other instances serve
on. It is an instance like any other when nobody wants it as a refuge any more.

Each instance has a name, `process/0` and so on, and `around` may stand around what it runs: a
circuit breaker, say, that hears each batch and what became of it.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Protocol, Self

from gateway.errors import NotReady
from gateway.execute.instance import Finish, Instance, Plan
from gateway.types import Call, Outputs

Run = Callable[[Sequence[Call], Finish], None]


class Guarded(Protocol):
    """What stands around an instance."""

    def run(self, calls: Sequence[Call], finish: Finish) -> None:
        """Have the instance run the calls, or finish with a refusal."""

    def may_start(self) -> bool:
        """Say whether it would have them run."""

    def is_due(self) -> bool:
        """Say whether it should be given some, to see how the instance is."""


Around = Callable[[str, Run], Guarded]  # the name of an instance, and what it runs


class Room(Protocol):
    """Who may start how much at once."""

    def allow(self, batches: int, suspects: int) -> None:
        """So many batches may be under way, and so many suspects beside them."""

    def is_wanted(self) -> bool:
        """Say whether suspects are under way, or wait to be."""


@dataclass(frozen=True, slots=True)
class InstanceView:
    """One instance, as operators see it; `starts` are those of its processes."""

    name: str
    pid: int | None
    is_up: bool
    is_free: bool
    starts: int


@dataclass(frozen=True, slots=True)
class _Bare:
    """Nothing stands around it."""

    name: str
    run: Run

    def may_start(self) -> bool:
        return True

    def is_due(self) -> bool:
        return False


class Processes:
    """Mutable state: the instances, and which of them is the refuge."""

    def __init__(self, plan: Plan, instances: int, room: Room, around: Around = _Bare) -> None:
        self._room = room
        self._instances = [Instance(f"process/{at}", plan, self) for at in range(instances)]
        self._guards = {one: around(one.name, one.run) for one in self._instances}
        self._refuge: Instance | None = None

    async def __aenter__(self) -> Self:
        """Start every instance. Raises: LoadFailed, with why the version cannot be loaded.

        Cancel: what was started is ended.
        """
        async with AsyncExitStack() as undo:
            opening = []
            for one in self._instances:
                undo.push_async_callback(one.close)
                opening.append(asyncio.ensure_future(one.open()))
            try:
                await asyncio.gather(*opening)
            finally:
                for task in opening:
                    task.cancel()
            undo.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(one.close() for one in self._instances))

    def run(self, calls: Sequence[Call], finish: Finish) -> None:
        """Run the calls in an instance that is free. Raises: NotReady, where none is."""
        free = [one for one in self._instances if one.is_free and one is not self._refuge]
        if not free:
            raise _no_room()
        guards = [self._guards[one] for one in free]
        due = next((one for one in guards if one.is_due()), None)  # else it is never tried again
        chosen = due or next((one for one in guards if one.may_start()), guards[0])
        chosen.run(calls, partial(self._after, finish))

    def run_suspects(self, calls: Sequence[Call], finish: Finish) -> None:
        """Run the calls in the refuge. Raises: NotReady, where it is not free."""
        refuge = self._free_refuge()
        self._guards[refuge].run(calls, partial(self._after, finish))

    def wait_for_suspects(self, calls: Sequence[Call], finish: Finish) -> None:
        """The same, for as long as anybody waits for them: however long, it is not held against
        the instance.
        """
        self._free_refuge().run(calls, partial(self._after, finish), is_patient=True)

    def statistics(self) -> tuple[InstanceView, ...]:
        return tuple(
            InstanceView(one.name, one.pid, one.is_up, one.is_free, one.starts)
            for one in self._instances
        )

    def changed(self) -> None:
        """Tell how much may be under way, and let go of a refuge that nobody wants."""
        self.recount()
        if self._refuge is not None and not self._room.is_wanted():
            self._refuge = None
            self.recount()

    def recount(self) -> None:
        """Tell how much may be under way."""
        refuge = self._refuge
        up = [one for one in self._instances if one.is_up and one is not refuge]
        # No batch is cut for one that would refuse it, as long as another would not.
        able = [one for one in up if not one.is_free or self._guards[one].may_start()]
        self._room.allow(len(able or up), int(refuge is not None and refuge.is_up))

    def lost(self, instance: Instance, tell: Callable[[], None]) -> None:
        """Have what it ran tried again there, unless another is the refuge already."""
        if self._refuge is None:
            self._refuge = instance
        self.recount()
        tell()
        self.changed()

    def _free_refuge(self) -> Instance:
        refuge = self._refuge
        if refuge is None or not refuge.is_free:
            raise _no_room()
        return refuge

    def _after(self, finish: Finish, result: Outputs | Exception) -> None:
        finish(result)
        self.changed()


def _no_room() -> NotReady:
    return NotReady("no process of this version is free")
