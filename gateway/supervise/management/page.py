"""Page: what the management port shows to a person.

Job    the status page and the OpenAPI document as HTML, each whole in itself.
Life   pure functions.
Never  trusts a text: names and reasons come from disks and clients, so all is escaped;
       and no page asks for a script, a font or an image.
"""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

import orjson

from gateway import __version__

# No script may run in a page of ours, wherever it came from.
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
SECURITY = {"content-security-policy": _POLICY, "referrer-policy": "no-referrer"}

_REFRESH_S = 5
_MOST_SHAPES = 50
_STYLE = """
:root { color-scheme: light dark }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #8884 }
td, h2, p { overflow-wrap: anywhere }
code, pre { font-family: ui-monospace, monospace }
pre { overflow-x: auto }
.good { color: #1a7f37 } .bad { color: #cf222e } .mild { color: #9a6700 }
"""
_COLOURS = {
    "READY": "good",
    "UNAVAILABLE": "bad",
    "serving": "good",
    "starting": "mild",
    "retiring": "mild",
}
_VERSION_COLUMNS = (
    "Model", "Version", "Default", "State", "Reason", "Executor", "Rows at most", "Digest",
)  # fmt: skip
_LINKS = (
    ("/docs", "Endpoints"),
    ("/openapi.json", "OpenAPI"),
    ("/data-port.json", "OpenAPI of the data port"),
    ("/metrics", "Metrics"),
    ("/readyz", "Readiness"),
    ("/admin/v1/telemetry", "Telemetry"),
)


def status_page(
    name: str,
    unready: str | None,
    models: Sequence[Mapping[str, Any]],
    replicas: Sequence[Mapping[str, Any]],
) -> str:
    """Return the status page; it asks for itself again every few seconds."""
    colour, state = ("good", "ready") if unready is None else ("bad", unready)
    versions = [
        (model["name"], one["version"], "yes" if one["is_default"] else "", _State(one["state"]),
         one["reason"], one["executor"], one["max_batch_size"], (one["digest"] or "")[:12])
        for model in models
        for one in model["versions"]
    ]  # fmt: skip
    processes = [
        (one["slot"], one["pid"], _State(one["state"]), one["restarts"], one["started_at"])
        for one in replicas
    ]
    return _page(
        name,
        f'<meta http-equiv="refresh" content="{_REFRESH_S}">',
        f"<h1>{_safe(name)}</h1>",
        f'<p><b class="{colour}">{_safe(state)}</b> · onnx-gateway {__version__}</p>',
        "<p>" + " · ".join(f'<a href="{to}">{text}</a>' for to, text in _LINKS) + "</p>",
        f"<h2>Models ({len(models)})</h2>",
        _table(_VERSION_COLUMNS, versions),
        f"<h2>Replicas ({len(replicas)})</h2>",
        _table(("Slot", "Process", "State", "Restarts", "Started"), processes),
    )


class PortDocument(NamedTuple):
    """One port, as its OpenAPI document tells it; `source` is where that is to be had."""

    url: str
    source: str
    document: Mapping[str, Any]


def docs_page(name: str, ports: Sequence[PortDocument]) -> str:
    """Return the OpenAPI documents of all ports for people."""
    parts = []
    for port in ports:
        told = port.document["info"]
        parts += [
            f"<h1>{_safe(told['title'])} {_safe(told['version'])}</h1>",
            f"<p>{_safe(told['description'])}</p>",
            f'<p><a href="/">Status</a> · <a href="{port.source}">OpenAPI</a></p>',
        ]
        for path, operations in port.document["paths"].items():
            for method in operations:
                if method != "parameters":
                    parts += _operation(port, method, path)
        parts += _shapes(port.document["components"]["schemas"])
    return _page(f"{name}: endpoints", "", *parts)


def _operation(port: PortDocument, method: str, path: str) -> list[str]:
    operation, shared = port.document["paths"][path][method], port.document["components"]
    answers = []
    for status, answer in operation["responses"].items():
        about = shared["responses"][status] if "$ref" in answer else answer
        for kind, content in about["content"].items():
            answers.append((status, about["description"], kind, _shape(content)))
    command = f"curl {port.url}{path}"
    if method in ("put", "delete"):
        command = f"curl -X {method.upper()} {port.url}{path}"
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "header" and parameter["required"]:
            command += f" -H '{parameter['name'].lower()}: \"1\"'"
    if "requestBody" in operation:
        content = operation["requestBody"]["content"]["application/json"]
        command += " -H 'content-type: application/json' -d " + _example(shared, content)
    return [
        f"<h2><code>{method.upper()} {_safe(path)}</code></h2>",
        f"<p>{_safe(operation['summary'])}. {_safe(operation.get('description', 'No token.'))}</p>",
        f"<pre>{_safe(command)}</pre>",
        _table(("Status", "Meaning", "Content", "Shape"), answers),
    ]


def _shapes(schemas: Mapping[str, Any]) -> list[str]:
    """Return what shapes look like, as JSON Schema; of too many none, OpenAPI has them all."""
    if len(schemas) > _MOST_SHAPES:
        return []
    parts = []
    for name, schema in schemas.items():
        text = orjson.dumps(schema, option=orjson.OPT_INDENT_2).decode()
        parts += [f"<h2><code>{_safe(name)}</code></h2>", f"<pre>{_safe(text)}</pre>"]
    return parts


def _shape(content: Mapping[str, Any]) -> str:
    """Return what the schema of some content is called, nothing where it has no name."""
    return str(content["schema"].get("$ref", "")).rpartition("/")[2]


def _example(shared: Mapping[str, Any], content: Mapping[str, Any]) -> str:
    """Return a body that fits, as a word of the shell."""
    examples = shared["schemas"][_shape(content)].get("examples", ({},))
    return shlex.quote(orjson.dumps(examples[0]).decode())


class _State(str):
    """A text that has a colour."""

    __slots__ = ()


def _page(title: str, head: str, *parts: str) -> str:
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width">{head}'
        f"<title>{_safe(title)}</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _table(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    head = "".join(f"<th>{_safe(one)}</th>" for one in columns)
    lines = ["<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows]
    body = "\n".join(lines) or "<tr><td>None</td></tr>"
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>"


def _cell(value: object) -> str:
    colour = _COLOURS.get(value) if isinstance(value, _State) else None
    text = "" if value is None else _safe(value)
    return f"<td>{text}</td>" if colour is None else f'<td class="{colour}">{text}</td>'


def _safe(value: object) -> str:
    return escape(str(value))
