"""Following: a supervised replica obeys what it hears, and answers.

Job    turn messages into acts of the catalog and the server.
Life   `follow` runs until the channel ends; the supervisor is gone then, and so are we:
       everything is drained, and nobody renews the deadman any more.
Never  serves a prediction; lets one message wait for another, except that versions are
       prepared, and forgotten, one after another.
"""

import asyncio
import gc
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress

from gateway.app.asking import RemoteDesk
from gateway.app.catalog import Catalog
from gateway.app.returning import give_back
from gateway.app.serving import Server
from gateway.app.unplaced import Cut, told_reply, told_table
from gateway.control.channel import Broken, Channel
from gateway.control.messages import (
    Accept,
    Accepting,
    Drain,
    Forget,
    Hello,
    Prepare,
    Prepared,
    Publish,
    Published,
    Release,
    Released,
    Reply,
    Retire,
    Retired,
    Shares,
    ToReplica,
    ToSupervisor,
    Withdraw,
)
from gateway.control.reports import Report, Reported

_log = logging.getLogger(__name__)
Share = Callable[[Mapping[str, tuple[int | None, int]]], None]
# What is served at the start lives as long as the process, so collections need not look
# at it; a request makes no cycle, so they need not come often either.
_GC_THRESHOLDS = (50_000, 20, 50)


class Line:
    """The replica's end of the channel: what it says to nobody is lost."""

    def __init__(self, channel: Channel[ToSupervisor, ToReplica]) -> None:
        self.channel = channel
        self.desk = RemoteDesk(channel.send)

    def say(self, message: ToSupervisor) -> None:
        """Say something, if anybody hears it."""
        with suppress(Broken):
            self.channel.send(message)

    def retired(self, rows: tuple[int, ...]) -> None:
        """Say that these rows are final."""
        self.say(Retired(rows))


class Follower:
    """Every message is obeyed in the order in which they came.

    Mutable state: what is still to prepare, and whether anything was published.
    """

    def __init__(
        self, line: Line, catalog: Catalog, server: Server, share: Share, cut: Cut = str
    ) -> None:
        """`share` hears which part of each quota is given out here; `cut` makes a text one
        that strangers may read.
        """
        self._cut = cut
        self._line = line
        self._catalog = catalog
        self._server = server
        self._share = share
        self._wanted: asyncio.Queue[Prepare | Forget] = asyncio.Queue()
        self._has_published = False

    async def follow(self) -> None:
        """Obey until the supervisor is gone, then drain. Cancel: safe."""
        preparing = asyncio.create_task(self._prepare())
        try:
            while (message := await self._line.channel.receive()) is not None:
                await self._obey(message)
            _log.warning("the supervisor is gone: this replica drains")
        except Exception:  # noqa: BLE001 - callers are answered first, whatever it was
            _log.exception("this replica drains: it cannot obey any more")
        finally:
            preparing.cancel()
            self._line.desk.hang_up()
            self._server.drain()

    async def _prepare(self) -> None:
        while True:
            asked = await self._wanted.get()
            if isinstance(asked, Forget):  # in its turn: it may be about what is loaded just now
                self._catalog.forget(asked.rows)
                continue
            refused = await self._catalog.prepare(asked.versions)
            self._line.say(Prepared(asked.ticket, refused))

    async def _obey(self, message: ToReplica) -> None:
        server = self._server
        match message:
            case Prepare() | Forget():
                self._wanted.put_nowait(message)
            case Publish():
                self._publish(message)
            case Accept():
                await self._accept(message.slot)
            case Release():
                server.release(message.slot)
                self._line.say(Released(message.slot))
            case Withdraw():
                server.withdraw()
            case Retire():
                server.retire(message.within_s)
            case Drain():
                server.drain(message.within_s)
            case Reply():
                self._line.desk.answer(told_reply(message, self._cut))
            case Shares():
                self._share(message.parts)
            case Report():
                self._line.say(Reported(message.ticket, self._catalog.breakers()))
            case Hello():
                _log.error("the supervisor greets twice")

    def _publish(self, message: Publish) -> None:
        self._catalog.publish(told_table(message.table, self._cut))
        if not self._has_published:
            self._has_published = True
            settle_memory()
        self._line.say(Published(message.table.revision))

    async def _accept(self, slot: int) -> None:
        try:
            accepts = await self._server.accept(slot)
        except OSError:
            _log.exception("cannot accept connections from slot %d", slot)
            self._line.say(Accepting(slot, accepts=False))
            return
        if accepts:  # unanswered, the supervisor waits until we end
            self._line.say(Accepting(slot))


def settle_memory() -> None:
    """Have the collector pass over all that lives now.

    Only once, before the first connection: a collection of everything takes a tenth of a
    second, and what is loaded later is little to look at, but must be collectable when it
    is unloaded. What loading left goes back to the system then.
    """
    gc.collect()
    give_back()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
