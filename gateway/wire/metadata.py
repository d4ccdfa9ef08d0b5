"""Metadata: what the gateway says of its models.

Source: Open Inference Protocol V2, model metadata; protocol chapter 3.
"""

from collections.abc import Callable

import orjson

from gateway.errors import Draining, NotReady
from gateway.flow import Flow
from gateway.types import TensorSpec


class Metadata:
    """Reads the flow's models at each question, so it never says what was."""

    def __init__(
        self, flow: Flow, server_name: str, is_draining: Callable[[], bool] = lambda: False
    ) -> None:
        self._flow = flow
        self._is_draining = is_draining
        self.server_name = server_name

    def models(self) -> list[str]:
        """Return every model's name, in the repository's order."""
        return list(self._flow.models)

    def model(self, model: str, version: str | None) -> dict[str, object]:
        """Return a model's metadata. Raises: UnknownModel, UnknownVersion."""
        found = self._flow.find(model, version)
        return {
            "name": model,
            "versions": list(self._flow.models[model].versions),
            "platform": found.platform,
            "inputs": [_tensor(spec) for spec in found.signature.inputs],
            "outputs": [_tensor(spec) for spec in found.signature.outputs],
        }

    def ready(self, model: str, version: str | None) -> dict[str, object]:
        """Say that a version can serve. Raises: UnknownModel, UnknownVersion."""
        self._flow.find(model, version)
        return {"name": model, "ready": True}

    def check_ready(self) -> None:
        """Return if this server can serve. Raises: Draining, NotReady."""
        if self._is_draining():
            raise Draining("this server is shutting down")
        if not self._flow.models:
            raise NotReady("no model is loaded")

    def dump(self, content: object) -> bytes:
        """Return `content` as JSON."""
        return orjson.dumps(content)


def _tensor(spec: TensorSpec) -> dict[str, object]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}
