"""Supervisor: the process behind `gateway serve`.

Job    own configuration, repository, sockets, replicas' lives and telemetry; introduce
       them to each other; obey signals.
Life   `serve` returns when everybody has ended in order.
Never  serves a prediction, and never loads a model: what it runs must not be able to
       take it down.

    SIGTERM, SIGINT   leave: readiness fails, serving goes on for `pre_drain_s`, then drain
    a second one      hurry: whoever still waits is cut off
    SIGHUP            read configuration, certificates and repository again; replace replicas
"""

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, ExitStack
from socket import socket
from typing import Any

import uvloop

from gateway.config import Config, parse_model
from gateway.config.bounds import connections_of
from gateway.control.messages import Table
from gateway.errors import Draining, GatewayError, NotReady, Rejected
from gateway.repository.discover import RepositoryError
from gateway.supervise.accounts import Accounts
from gateway.supervise.cpus import available_cpus
from gateway.supervise.descriptors import permit_descriptors
from gateway.supervise.fleet import Fleet
from gateway.supervise.front import Front
from gateway.supervise.inventory import Inventory
from gateway.supervise.inventory import Policy as InventoryPolicy
from gateway.supervise.ledger import Ledger
from gateway.supervise.management.listening import open_management
from gateway.supervise.overseer import Policy
from gateway.supervise.prover import prover_of
from gateway.supervise.slots import bind_slots, listen
from gateway.supervise.steering import open_hosts, open_traffic
from gateway.supervise.traffic import Traffic

_log = logging.getLogger(__name__)
_MOST_NAMED = 10
_REFUSALS = (GatewayError, OSError, ValueError)
_FIXED = (
    "host",
    "port",
    "admin_host",
    "admin_port",
    "replicas",
    "models",
    "repository",
    "state",
    "redis",
    "routes",
)


def serve(config: Config, reload: Callable[[], Config]) -> None:
    """Serve until told to leave, then answer what was accepted and return.

    `reload` reads the configuration again. Raises: OSError where an address cannot be
    had; RepositoryError where there is no version to serve.
    """
    count = available_cpus() if config.replicas == "auto" else config.replicas
    taken, wanted = connections_of(config, permit_descriptors()), config.limits.max_connections
    if taken < wanted:
        _log.warning("a replica takes %d connections, not %d: ulimit -n is low", taken, wanted)
    with ExitStack() as bound:
        slots = [bound.enter_context(s) for s in bind_slots(config.host, config.port, count)]
        ports = bind_slots(config.admin_host, config.admin_port, 1)
        bound.enter_context(ports[0])
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(Supervisor(config, reload, slots, ports).run())


class Supervisor:
    """Everything that outlives replicas.

    Mutable state: the configuration (a SIGHUP replaces it), `_is_up` (they were told where
    we serve), and what signals have asked for (`_leave`, `_hurry`, `_renew`).
    """

    def __init__(
        self,
        config: Config,
        reload: Callable[[], Config],
        slots: Sequence[socket],
        ports: Sequence[socket],
    ) -> None:
        self._config = config
        self._reload = reload
        self._slots = slots
        self._ports = ports
        self._is_up = False
        self._traffic: Traffic
        self._leave, self._hurry, self._renew = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._ledger = Ledger()
        self._accounts = Accounts(self._ledger, self._settings)
        self._fleet = Fleet(slots, _fleet_policy(config), self._accounts)

    async def run(self) -> None:
        """Start everybody, serve, and end everybody."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._hear, number)
        config, ledger, fleet = self._config, self._ledger, self._fleet
        async with AsyncExitStack() as stack:
            prover = self._prover = await stack.enter_async_context(prover_of(config))
            policy = InventoryPolicy(config.repository.control, config.repository.startup)
            traffic = self._traffic = await stack.enter_async_context(open_traffic(config))
            inventory = self._inventory = Inventory(
                config.models, parse_model, policy, prover, fleet, ledger, traffic.see
            )
            traffic.introduce(inventory, fleet.lacking)
            front = Front(inventory, fleet, ledger, traffic, self._accounts, self.why_unready)
            self._accounts.introduce(inventory, front.answer)
            allotting = self._accounts.allotting
            allotting.introduce(await stack.enter_async_context(open_hosts(config)))
            allotting.adopt(config.auth.quotas)
            for part in (front, self._accounts, allotting, fleet, inventory):
                await stack.enter_async_context(part)
            office = open_management(front, config, self._ports)
            self._port = await stack.enter_async_context(office)
            _say(f"managed on {_url(self._ports[0], config.admin_tls.certfile is not None)}")
            if await self._unless_leaving(self._start()):
                await self._serve()

    def why_unready(self) -> Rejected | None:
        """Return what tells callers not to come here; None where they may."""
        if self._leave.is_set():
            return Draining("this server is shutting down")
        if not self._is_up:
            return NotReady("models are being loaded")
        fleet, entries = self._fleet, self._inventory.published().models.values()
        served = [entry for entry in entries if entry.served]
        if not fleet.is_served():
            return NotReady("no replica serves")
        digests = [digest for entry in entries for digest in entry.served.values()]
        needs_a_model = self._config.repository.control != "explicit"
        if needs_a_model and not any(map(fleet.is_served, digests)):
            return NotReady("no model is loaded")
        if served and all(entry.document is None for entry in served):
            return NotReady(self._traffic.trouble() or "no routing document is known")
        return None

    def _settings(self) -> str:
        return self._config.model_dump_json()

    def _hear(self, number: int) -> None:
        if number == signal.SIGHUP:
            self._renew.set()
        elif self._leave.is_set():
            self._hurry.set()
        else:
            self._leave.set()

    async def _start(self) -> None:
        """Prove what is on disk, and have every replica serve it. Raises: RepositoryError."""
        inventory, fleet = self._inventory, self._fleet
        await self._traffic.start()
        await inventory.start()
        await self._traffic.settle()
        if self._config.repository.control != "explicit" and not inventory.assigned():
            raise RepositoryError(
                _reasons(inventory) or [(str(self._config.models), "holds no model")]
            )
        await fleet.start()
        if not fleet.is_served():
            raise RepositoryError([(str(self._config.models), "no replica could be started")])
        listen(self._slots)
        self._is_up = True
        url = _url(self._slots[0], self._config.tls.certfile is not None)
        _say(f"serving {_named(inventory.table())} on {url}")

    async def _serve(self) -> None:
        """Obey signals until one of them says leave, and then leave."""
        renewing = asyncio.create_task(self._keep_renewing())
        try:
            await self._leave.wait()
        finally:
            renewing.cancel()
            await asyncio.wait([renewing])
        config = self._config
        self._fleet.withdraw()
        await _unless(self._hurry, asyncio.sleep(config.pre_drain_s))
        self._fleet.start_no_more()
        for slot in self._slots:
            slot.close()  # the replicas close theirs: from now on connections are refused
        await _unless(self._hurry, self._fleet.drain(config.drain_timeout_s))
        if self._hurry.is_set():
            await self._fleet.drain(0)

    async def _keep_renewing(self) -> None:
        while True:
            await self._renew.wait()
            self._renew.clear()
            try:
                await self._renew_all()
            except _REFUSALS as error:  # the next one is heard as well
                for line in str(error).splitlines():
                    _log.error("not renewed, all stays as it was: %s", line)

    async def _renew_all(self) -> None:
        """Read everything again, then replace replicas.

        Raises: ConfigError, RepositoryError, Unguarded, OSError, Overloaded.
        """
        config = self._reload()
        for name in _FIXED:
            if getattr(config, name) != getattr(self._config, name):
                _log.warning("%s has changed: that needs a restart", name)
        kept = {name: getattr(self._config, name) for name in _FIXED}
        config = config.model_copy(update=kept)
        before = self._config
        self._adopt(config)
        try:
            await self._inventory.refresh()
        except _REFUSALS:
            self._adopt(before)
            raise
        await self._fleet.replace()

    def _adopt(self, config: Config) -> None:
        """Go on with other settings. Raises: Unguarded, OSError, and nothing has changed."""
        self._port.reload(config)
        self._config = config
        self._fleet.policy = _fleet_policy(config)
        self._prover.adopt(config)
        self._accounts.allotting.adopt(config.auth.quotas)

    async def _unless_leaving(self, work: Coroutine[Any, Any, None]) -> bool:
        """Do the work, unless we are told to leave before it is done; say whether it is."""
        return await _unless(self._leave, work)


async def _unless(event: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Await `work`, or cancel it when `event` happens first; say whether it was done."""
    task = asyncio.create_task(work)
    happening = asyncio.create_task(event.wait())
    await asyncio.wait((task, happening), return_when=asyncio.FIRST_COMPLETED)
    happening.cancel()
    is_done = task.done()
    if not is_done:
        task.cancel()
    await asyncio.wait((task, happening))
    if is_done:
        task.result()
    return is_done


def _fleet_policy(config: Config) -> Policy:
    return Policy(
        heartbeat_timeout_s=config.heartbeat_timeout_s,
        prepare_timeout_s=2 * config.repository.proof_timeout_s,
        drain_timeout_s=config.drain_timeout_s,
    )


def _reasons(inventory: Inventory) -> list[tuple[str, str]]:
    return [
        (f"{one.model} version {one.version}", one.reason)
        for one in inventory.views()
        if one.reason
    ]


def _named(table: Table) -> str:
    served = {name: entry.served for name, entry in table.models.items() if entry.served}
    names = [f"{name} ({', '.join(versions)})" for name, versions in served.items()]
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more models" if more > 0 else "")


def _url(port: socket, is_tls: bool) -> str:
    host, number = port.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if is_tls else 'http'}://{shown}:{number}"


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - it is told to whoever started us
