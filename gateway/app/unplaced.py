"""Unplaced: what is told of models, without the folder in which they lie.

Job    take an absolute folder of models out of a text for strangers: what is left begins with
       the model's name; and the addresses of servers that run versions elsewhere.
Life   pure functions.
Never  changes what operators read: logs and the management port say where a file is.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import orjson

from gateway.control.messages import Reply, Table

_ADDRESS = re.compile(r"https?://[^\s\"\\]+?(?=:?(?:\s|[\"\\]|$))")

Cut = Callable[[str], str]


def cut_of(models: Path) -> Cut:
    """Return what takes this folder out of texts, JSON too; one that is relative says little."""
    if not models.is_absolute() or models == Path("/"):
        return _without_addresses
    plain = f"{models}/"
    escaped = orjson.dumps(plain).decode()[1:-1] if plain.isprintable() else plain
    return lambda text: _without_addresses(text.replace(plain, "").replace(escaped, ""))


def _without_addresses(text: str) -> str:
    return _ADDRESS.sub("an endpoint", text)


def told_table(table: Table, cut: Cut) -> Table:
    """Return a table whose reasons are for strangers."""
    models = dict(table.models)
    for name, entry in table.models.items():
        if entry.unready:
            told = {version: cut(why) for version, why in entry.unready.items()}
            models[name] = replace(entry, unready=told)
    return replace(table, models=models)


def told_reply(reply: Reply, cut: Cut) -> Reply:
    """Return an answer that is for strangers."""
    return replace(reply, body=cut(reply.body))
