"""Routes: every endpoint of the management port, in one table.

Job    say of each its path, its role, its bound in time and its answer.
Never  answers what is not in the table; the OpenAPI document is made of the same rows.
"""

import logging
from dataclasses import dataclass
from functools import cached_property

from gateway.supervise.management.bodies import read_change
from gateway.supervise.management.endpoints import (
    HTML,
    METRICS,
    Asked,
    Endpoint,
    Reply,
    html_reply,
    json_reply,
)
from gateway.supervise.management.guard import Role
from gateway.supervise.management.office import Office
from gateway.supervise.management.openapi import document
from gateway.supervise.management.page import PortDocument, docs_page, status_page
from gateway.supervise.management.routing import Routing, routing_endpoints
from gateway.supervise.management.views import (
    breakers_shown,
    model_shown,
    models_shown,
    replicas_shown,
)
from gateway.wire.keys import NO_KEYS, Keys
from gateway.wire.openapi import document as data_port_document
from gateway.wire.paths import V2_AND_V1, Routes

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Settings:
    """What is told of the configuration: names, and how the data port is.

    The URLs are for a person on this machine, to be copied.
    """

    name: str = "gateway"
    admin_url: str = "http://127.0.0.1:8081"
    data_url: str = "http://127.0.0.1:8080"
    routes: Routes = V2_AND_V1
    is_explicit: bool = False
    keys: Keys = NO_KEYS


class Answers:
    """One method an endpoint; each answer says what is so now.

    Mutable state: `settings`, replaced whole when the configuration is read again.
    """

    def __init__(self, office: Office, settings: Settings) -> None:
        self._office = office
        self.settings = settings
        self.endpoints = (*_table(self), *routing_endpoints(Routing(office)))

    @cached_property
    def document(self) -> dict[str, object]:
        """The OpenAPI document of these endpoints."""
        return document(self.endpoints)

    async def status(self, asked: Asked) -> Reply:
        office, unready = self._office, self._office.unready()
        models, replicas = models_shown(office.versions()), replicas_shown(office.replicas())
        state = None if unready is None else str(unready)
        return html_reply(status_page(self.settings.name, state, models, replicas))

    async def docs(self, asked: Asked) -> Reply:
        settings = self.settings
        ports = (
            PortDocument(settings.data_url, "/data-port.json", self._data_port_document()),
            PortDocument(settings.admin_url, "/openapi.json", self.document),
        )
        return html_reply(docs_page(settings.name, ports))

    async def openapi(self, asked: Asked) -> Reply:
        return json_reply(self.document)

    async def data_port(self, asked: Asked) -> Reply:
        return json_reply(self._data_port_document())

    def _data_port_document(self) -> dict[str, object]:
        served = {
            one.model: one.signature
            for one in self._office.versions()
            if one.is_default and one.signature is not None and one.state == "READY"
        }
        told = self.settings
        return data_port_document(served, told.routes, is_explicit=told.is_explicit, keys=told.keys)

    async def metrics(self, asked: Asked) -> Reply:
        accept = asked.fields.get(b"accept", b"").decode("latin-1")
        return Reply(*await self._office.metrics(accept))

    async def live(self, asked: Asked) -> Reply:
        return json_reply({"live": True})

    async def ready(self, asked: Asked) -> Reply:
        unready = self._office.unready()
        if unready is not None:
            raise unready
        return json_reply({"ready": True})

    async def models(self, asked: Asked) -> Reply:
        return json_reply({"models": models_shown(self._office.versions())})

    async def model(self, asked: Asked) -> Reply:
        return json_reply(model_shown(self._office.versions(), asked.names["model"]))

    async def load(self, asked: Asked) -> Reply:
        await self._office.load(*self._change("load", asked))
        return await self.model(asked)

    async def unload(self, asked: Asked) -> Reply:
        await self._office.unload(*self._change("unload", asked))
        return await self.model(asked)

    async def replicas(self, asked: Asked) -> Reply:
        return json_reply({"replicas": replicas_shown(self._office.replicas())})

    async def breakers(self, asked: Asked) -> Reply:
        return json_reply(breakers_shown(await self._office.breakers()))

    async def telemetry(self, asked: Asked) -> Reply:
        return json_reply(await self._office.telemetry())

    def _change(self, what: str, asked: Asked) -> tuple[str, str | None]:
        """Return what is to change, once its body was read and the log knows of it."""
        reason = read_change(asked.body).reason
        model, version = asked.names["model"], asked.names.get("version")
        who = "nobody" if asked.caller is None else asked.caller.name
        # Texts of others are shown as Python does, so that none can forge a line.
        place = repr(model) if version is None else f"{model!r} version {version!r}"
        why = "no reason given" if reason is None else repr(reason)
        _log.warning("%s asks to %s %s: %s", who, what, place, why)
        return model, version


def _table(at: Answers) -> tuple[Endpoint, ...]:
    model = "/admin/v1/models/{model}"
    version = model + "/versions/{version}"
    see, change = Role.VIEWER, Role.OPERATOR
    load_all = "Serve what the model's version policy chooses, as it is on disk now"
    load = "Serve a version as it is on disk now; answered when every replica does"
    unload_all = "Stop serving all of a model; answered when no replica serves it"
    unload = "Stop serving a version; answered when no replica serves it"
    counters = "All counters since this epoch began"
    breakers = "How the executors of each version are, in every replica"
    data_port = "The data port's OpenAPI document, with a schema for each model"
    metrics = "All metrics, as text or, where Accept prefers it, as OpenMetrics"
    lives, serves = "Whether the supervisor lives", "Whether it can serve"
    return (
        Endpoint("GET", "/", see, "The status page", at.status, (HTML,)),
        Endpoint("GET", "/docs", see, "The endpoints of both ports, to be read", at.docs, (HTML,)),
        Endpoint("GET", "/openapi.json", see, "This document", at.openapi, schema="Document"),
        Endpoint("GET", "/data-port.json", see, data_port, at.data_port, schema="Document"),
        Endpoint("GET", "/metrics", None, metrics, at.metrics, METRICS),
        Endpoint("GET", "/livez", None, lives, at.live, schema="Live", is_probe=True),
        Endpoint("GET", "/readyz", None, serves, at.ready, schema="Ready", is_probe=True),
        Endpoint("GET", "/admin/v1/models", see, "Every model", at.models, schema="Models"),
        Endpoint("GET", model, see, "One model with its versions", at.model, schema="Model"),
        Endpoint("POST", model + "/load", change, load_all, at.load, schema="Model"),
        Endpoint("POST", model + "/unload", change, unload_all, at.unload, schema="Model"),
        Endpoint("POST", version + "/load", change, load, at.load, schema="Model"),
        Endpoint("POST", version + "/unload", change, unload, at.unload, schema="Model"),
        Endpoint("GET", "/admin/v1/replicas", see, "Every process", at.replicas, schema="Replicas"),
        Endpoint("GET", "/admin/v1/breakers", see, breakers, at.breakers, schema="Breakers"),
        Endpoint("GET", "/admin/v1/telemetry", see, counters, at.telemetry, schema="Document"),
    )
