"""Check: everything that would keep a gateway from serving, said before it is started.

Job    read the configuration, discover the models, prove each version, name every fault.
Life   one pass; each version is tried in a process of its own.
Never  stops at a fault, listens, or changes anything.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

import typer

from gateway.cli.settings import settings
from gateway.config import Config, parse_model
from gateway.repository.discover import Discovery, RepositoryError, discover
from gateway.repository.proof import Found, Proof
from gateway.supervise.prover import Unproven, prover_of


class Faulty(Exception):
    """Some versions cannot be served: all their faults, a line each."""


class Proving(Protocol):
    """Who tries a version; the supervisor's prover."""

    async def prove(self, found: Found) -> Proof:
        """Return what is known of a version from now on. Raises: Unproven."""


Open = Callable[[Config], AbstractAsyncContextManager[Proving]]


def print_schema() -> None:
    """Print the JSON Schema of gateway.toml."""
    typer.echo(json.dumps(Config.model_json_schema(), indent=2))


def check(file: Path | None, flags: Mapping[str, object], opened: Open = prover_of) -> None:
    """Say what is in order, on stdout.

    Raises: ConfigError, with nothing known of the models; Faulty, with all their faults.
    """
    config = settings(file, flags)
    typer.echo("ok  configuration")
    try:
        discovery = discover(config.models, parse_model)
    except RepositoryError as error:
        raise Faulty(str(error)) from None
    for note in _notes(discovery):
        typer.echo(f"note  {note}")
    faults = [str(fault) for fault in discovery.faults if fault.kind != "unchosen"]
    faults += asyncio.run(_prove_all(discovery, config, opened))
    if not discovery.found and not faults:
        faults = [f"{config.models}: holds no model: expected <model>/<version>/model.onnx"]
    if faults:
        raise Faulty("\n".join(faults))


async def _prove_all(discovery: Discovery, config: Config, opened: Open) -> list[str]:
    """Prove one version after another, for their costs are measured; return the faults."""
    faults = []
    async with opened(config) as prover:
        for found in discovery.found:
            try:
                typer.echo(f"ok  {_told(await prover.prove(found))}")
            except Unproven as error:
                faults.append(f"{found.folder}: {' '.join(str(error).split())}")
    return faults


def _notes(discovery: Discovery) -> list[str]:
    """Return what configurations say in vain, each once."""
    notes = (f"{one.model}: {note}" for one in discovery.found for note in one.settings.notes)
    return list(dict.fromkeys(notes))


def _told(proof: Proof) -> str:
    """Return what is worth knowing of a version, in a line."""
    found, placement = proof.found, proof.placement
    row_us = proof.cost.of(1) * 1e6
    return (
        f"{found.model} {found.version}  {proof.executor}, {placement.max_rows} rows at most, "
        f"{row_us:.3g} us for one, {proof.digest[:12]}"
    )
