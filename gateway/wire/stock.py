"""Stock: what the data port says and does about the versions behind it.

Job    statistics, the repository's index, load and unload: refuse what is wrong with a
       request, and take the rest to the desk.
Never  changes anything itself; asks the desk for what is not there.

Source: Triton's statistics and model repository extensions; protocol chapters 10 and 12.
"""

from gateway.core.versions import canonical_version
from gateway.errors import (
    CannotPrepare,
    Forbidden,
    GatewayError,
    NotReady,
    UnknownModel,
    UnknownVersion,
)
from gateway.flow import Flow, Served
from gateway.wire.desk import Desk
from gateway.wire.failures import Refused
from gateway.wire.loading import check_name, read_index, read_load_beside, read_unload


class Stock:
    """Every question is answered as the desk answers it, in the protocol's words."""

    def __init__(self, desk: Desk, flow: Flow, is_explicit: bool, max_json_depth: int) -> None:
        """`is_explicit` says that callers may load and unload."""
        self._desk = desk
        self._flow = flow
        self._max_json_depth = max_json_depth
        self.is_explicit = is_explicit

    async def statistics(self, model: str | None, version: str | None) -> bytes:
        """Return the statistics of what is served: of all, of a model, or of a version.

        Raises: UnknownModel, UnknownVersion, NotReady; what the desk refuses with.
        """
        if model is not None:
            served = self._flow.models.get(model)
            if served is None:
                raise UnknownModel(f"requested model '{model}' is not available")
            version = _counted(model, version, served)
        return await self._desk.ask("statistics", model, version, b"{}")

    async def index(self, body: bytes | bytearray) -> bytes:
        """Return every known version with its state. Raises: Malformed, TooLarge."""
        asked = read_index(body, self._max_json_depth)
        return await self._desk.ask("index", None, None, asked)

    def check_control(self) -> None:
        """Return if callers may load and unload. Raises: Forbidden."""
        if not self.is_explicit:
            raise Forbidden(
                "explicit model load / unload is not allowed if polling is enabled: expected "
                "repository.control = 'explicit', got 'none'"
            )

    async def load(self, model: str, body: bytes | bytearray) -> bytes:
        """Load a model, or load it anew; return when it can be asked.

        Raises: Forbidden; Malformed, TooLarge; Refused `load_failed`, and nothing has changed.
        """
        self.check_control()
        check_name(model)
        asked = await read_load_beside(body, self._max_json_depth)
        try:
            return await self._desk.ask("load", model, None, asked)
        except (CannotPrepare, UnknownModel, UnknownVersion) as error:
            raise _load_failed(model, error) from None

    async def unload(self, model: str, body: bytes | bytearray) -> bytes:
        """Unload a model; return when no new call reaches it.

        Raises: Forbidden; Malformed, TooLarge; UnknownModel.
        """
        self.check_control()
        check_name(model)
        asked = read_unload(body, self._max_json_depth)
        return await self._desk.ask("unload", model, None, asked)


def _counted(model: str, version: str | None, served: Served) -> str | None:
    """Return the canonical version whose counts are asked for, None: all of them."""
    if version is None:
        if not served.versions:
            reason = "; ".join(f"version {one}: {why}" for one, why in served.unready.items())
            raise NotReady(f"requested model '{model}' is not available: {reason or 'unloaded'}")
        return None
    canonical = canonical_version(version)
    if canonical in served.versions:
        return canonical
    what = f"requested model version is not available for model '{model}'"
    reason = served.unready.get(canonical, "")
    if reason:
        raise NotReady(f"{what}: version {canonical}: {reason}")
    raise UnknownVersion(f"{what}: version {version}")


def _load_failed(model: str, error: GatewayError) -> Refused:
    """Say it in the words that clients of the data port know."""
    text = f"failed to load '{model}'"
    if isinstance(error, UnknownModel):
        text += ", failed to poll from model repository"
    said = str(error)
    text = said if said.startswith(text) else f"{text}: {said}"
    return Refused(400, text, code="load_failed")
