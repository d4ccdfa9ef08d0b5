"""Asking in another dialect: an intake that echoes, and models to ask."""

from typing import Any

import orjson

from gateway.types import Shape, Version
from gateway.wire.exchange import Exchange
from gateway.wire.intake import Intake, Policy
from gateway.wire.paths import Dialect, InferTarget
from gateway.wire.terms import Terms
from tests.fakes import Tallied
from tests.wire.bodies import version
from tests.wire.harness import Answer, Echo, answers

Spec = tuple[str, str, Shape]


def echo(*specs: Spec, rows: int = 8) -> Version:
    """A model whose outputs are its inputs, by the same names."""
    return version(*specs, outputs=specs, max_batch_rows=rows)


FLOATS = echo(("x", "FP32", (-1, 2)))
INTEGER = echo(("x", "INT64", (-1,)))
TEXTS = echo(("x_bytes", "BYTES", (-1, 1)))
PAIR = echo(("a", "INT32", (-1,)), ("b", "FP32", (-1, 2)))
WHOLE = echo(("x", "FP32", (3,)), rows=0)
SCALAR = echo(("x", "FP32", ()), rows=0)


def ask(
    body: object,
    of: Version,
    dialect: Dialect = Dialect.V1,
    *,
    media: bytes = b"",
    json_length: int | None = None,
    policy: Policy = Policy(),  # noqa: B008 - frozen
) -> Answer:
    """Ask a model that answers with what it is given."""
    text = body if isinstance(body, bytes) else orjson.dumps(body)
    intake = Intake(Echo(of), policy, Tallied())
    exchange = Exchange(b"r-1", lambda _: None)
    terms = Terms(json_length=json_length, dialect=dialect, media=media)
    intake.start(exchange, terms, InferTarget("m", None, dialect), text, 0.0)
    (answer,) = answers(exchange.render(closes=False))
    return answer


def told(body: object, of: Version, dialect: Dialect = Dialect.V1, **more: Any) -> Any:
    """Return what the model answered, as JSON."""
    answer = ask(body, of, dialect, **more)
    assert answer.status == 200, answer.body
    return answer.json


def refusal(body: object, of: Version, dialect: Dialect = Dialect.V1, **more: Any) -> str:
    """Return why a body is refused."""
    answer = ask(body, of, dialect, **more)
    assert answer.status == 400, answer.body
    text: str = answer.json["error"]
    return text
