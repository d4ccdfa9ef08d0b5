"""Choosing: which arm a request is for, where that is not plain from the model's name.

Job    obey a version in the path or an operator's pin; else ask the model's split, and read
       as much of the body as it needs for that.
Never  chooses twice for one request: a draw is not repeated.
"""

from collections.abc import Mapping

from gateway.core.routing import Pairs
from gateway.errors import Malformed
from gateway.flow import Flow, Route
from gateway.types import Arm, Version
from gateway.wire import parameters
from gateway.wire.binary import json_part
from gateway.wire.bounds import most_bytes
from gateway.wire.decode import Limits, parse
from gateway.wire.parameters import Parameters
from gateway.wire.paths import Dialect, InferTarget, quoted
from gateway.wire.terms import Terms
from gateway.wire.unpacking import Body

Request = dict[str, object]  # the JSON of one


class Choosing:
    """The same answer for the lane and the ASGI app.

    Mutable state: what is known of the flow's `_routes` until there are others.
    """

    def __init__(self, flow: Flow, limits: Limits) -> None:
        self._flow = flow
        self._limits = limits
        self._routes: Mapping[str, Route] = flow.routes
        self._widths: dict[Route, Version | None] = {}  # of these

    def choose(
        self, terms: Terms, target: InferTarget, body: Body, headers: Pairs
    ) -> tuple[Arm, Request | None] | None:
        """Return who answers, and the request's JSON where it was read for that.

        None: ask again when the body is unpacked, because a split decides.
        Raises: UnknownModel, UnknownVersion, NotReady, Malformed, InvalidTensor.
        """
        if terms.pin is not None:
            return self._pinned(terms.pin, target), None
        route = self._flow.routes.get(target.model)
        if target.version is not None or route is None:
            return self._flow.find(target.model, target.version), None
        if terms.coding is not None:
            return None
        if not route.split.reads_parameters:
            return self._flow.choose(route, headers), None
        request = self._request(route, terms, body)
        given: Parameters = {} if request is None else parameters.read(request, "$")
        return self._flow.choose(route, headers, given), request

    def _pinned(self, pin: bytes, target: InferTarget) -> Arm:
        if target.version is not None:
            raise Malformed(
                "header x-gateway-variant: expected none, because the path asks for version "
                f"{target.version}, got {quoted(pin)}"
            )
        return self._flow.pinned(target.model, pin.decode("latin-1"))

    def _request(self, route: Route, terms: Terms, body: Body) -> Request | None:
        """Return the JSON of a request that says there who answers; None: it says nothing."""
        if terms.json_length == 0 or terms.dialect is not Dialect.V2:
            return None
        widest = self._widest(route)
        if widest is None:
            return None
        return parse(json_part(body, terms.json_length), widest, self._limits)

    def _widest(self, route: Route) -> Version | None:
        """Return the version that takes most: which of them it will be is not known yet.

        It is worked out once for each route of a plan, because it takes as long as parsing.
        """
        if self._routes is not self._flow.routes:
            self._routes, self._widths = self._flow.routes, {}
        found = self._widths.get(route, route)
        if isinstance(found, Route):
            versions = [arm.version for arm in route.arms if isinstance(arm, Arm)]
            found = max(versions, key=lambda one: most_bytes(one, self._limits), default=None)
            self._widths[route] = found
        return found
