"""Metadata: what the gateway says of its models.

Source: Open Inference Protocol V2, model metadata; protocol chapter 3.
"""

from collections.abc import Callable
from typing import Any

import orjson

from gateway.errors import Draining, NotReady
from gateway.flow import Flow
from gateway.repository.describe import describe
from gateway.repository.proof import Found
from gateway.types import TensorSpec, Version


class Metadata:
    """Reads the flow's models at each question, so it never says what was."""

    def __init__(
        self,
        flow: Flow,
        server_name: str,
        found: Callable[[Version], Found],
        *,
        default_wait_ms: float = 0.0,
        is_leaving: Callable[[], bool] = lambda: False,
        needs_a_model: bool = True,
    ) -> None:
        """`found` tells what a served version declares. A server that callers load models
        into is ready without one: then it does not need a model.
        """
        self._flow = flow
        self._found = found
        self._default_wait_ms = default_wait_ms
        self._is_leaving = is_leaving
        self._needs_a_model = needs_a_model
        self.server_name = server_name

    def models(self) -> list[str]:
        """Return every model's name, in the repository's order."""
        return list(self._flow.models)

    def model(self, model: str, version: str | None) -> dict[str, object]:
        """Return a model's metadata. Raises: UnknownModel, UnknownVersion, NotReady."""
        found = self._flow.find(model, version).version
        return {
            "name": model,
            "versions": list(self._flow.models[model].versions),
            "platform": found.platform,
            "inputs": [_tensor(spec) for spec in found.signature.inputs],
            "outputs": [_tensor(spec) for spec in found.signature.outputs],
        }

    def config(self, model: str, version: str | None) -> dict[str, Any]:
        """Return a version's configuration. Raises: UnknownModel, UnknownVersion, NotReady."""
        asked = self._flow.find(model, version).version
        return describe(
            self._found(asked),
            asked.signature,
            asked.platform,
            self._default_wait_ms,
        )

    def ready(self, model: str, version: str | None) -> dict[str, object]:
        """Say that a version can serve, or where none is named, that any can.

        Raises: UnknownModel, UnknownVersion, NotReady.
        """
        served = self._flow.models.get(model)
        if version is not None or served is None or not served.versions:
            self._flow.find(model, version)
        return {"name": model, "ready": True}

    def status(self, model: str, version: str | None) -> dict[str, object]:
        """Return a model's state in the words of KServe V1 and of TensorFlow Serving at once.

        Raises: UnknownModel, UnknownVersion, NotReady.
        """
        self.ready(model, version)
        served = self._flow.models[model].versions
        names = served if version is None else [self._flow.find(model, version).version.version]
        available = {"state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        states = [{"version": name} | available for name in names]
        return {"name": model, "ready": True, "model_version_status": states}

    def check_ready(self) -> None:
        """Return if this server can serve. Raises: Draining, NotReady."""
        if self._is_leaving():
            raise Draining("this server is shutting down")
        if self._needs_a_model and not any(one.versions for one in self._flow.models.values()):
            raise NotReady("no model is loaded")
        known = [one for one in self._flow.models.values() if one.versions]
        if known and not any(one.default or one.pinned for one in known):
            raise NotReady("no routing document is known")

    def dump(self, content: object) -> bytes:
        """Return `content` as JSON."""
        return orjson.dumps(content)


def _tensor(spec: TensorSpec) -> dict[str, object]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}
