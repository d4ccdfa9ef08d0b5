"""Reading: which dialect a body is in, and what it says.

Job    read a request whose path, or content type, is not V2's; choose how it is answered.
Life   one per replica.
Never  parses a body twice.

    V1            instances or inputs
    INVOCATIONS   SageMaker's binary type, or JSON whose inputs are V2's -> V2
                  any other JSON, or CSV -> MLflow
    VERTEX        its binary type, or JSON whose inputs are V2's -> V2; any other JSON -> V1

Source: protocol N1.
"""

from typing import Literal

from gateway.errors import GatewayError
from gateway.types import Version
from gateway.wire.decode import Reading, Wanted, decode, decode_request, parse
from gateway.wire.dialects.answers import Columns, Rows, SageMaker
from gateway.wire.dialects.frames import read_frame, read_table
from gateway.wire.dialects.media import SAGEMAKER, VERTEX, check_json, is_csv, json_length
from gateway.wire.dialects.v1 import is_by_rows, read_v1
from gateway.wire.encode import refuse_unwritable
from gateway.wire.exchange import Writer
from gateway.wire.paths import Dialect
from gateway.wire.tensors import Limits
from gateway.wire.terms import Terms
from gateway.wire.unpacking import Body

_V2_MEMBERS = {"name", "shape", "datatype"}
Manner = tuple[Wanted, ...] | Writer
Read = tuple[Reading, Manner]


class Dialects:
    """Reads every dialect but plain V2."""

    def __init__(self, limits: Limits, v1: Literal["kserve", "tfserving"]) -> None:
        self._limits = limits
        self._column_key = "predictions" if v1 == "kserve" else "outputs"

    def read(self, body: Body, terms: Terms, version: Version) -> Read:
        """Return what a body says, and how it is answered.

        Raises: Malformed, InvalidTensor; Refused, for a content type.
        """
        dialect = terms.dialect
        if dialect is Dialect.V1:
            return self._read_v1(parse(body, version, self._limits), version)
        binary = SAGEMAKER if dialect is Dialect.INVOCATIONS else VERTEX
        length = json_length(terms.media, binary)
        if length is None:
            length = terms.json_length
        if length is not None:
            return self._as_v2(dialect, decode(body, length, version, self._limits), version)
        if dialect is Dialect.INVOCATIONS and is_csv(terms.media):
            return read_table(body, version, self._limits), Rows()
        try:
            request = parse(body, version, self._limits)
        except GatewayError:
            check_json(terms.media)  # what is not meant to be JSON is not blamed for it
            raise
        if _is_v2(request):  # by content, because SageMaker's own examples call it octets
            reading = decode_request(request, body, None, version, self._limits)
            return self._as_v2(dialect, reading, version)
        check_json(terms.media)
        if dialect is Dialect.VERTEX:
            return self._read_v1(request, version)
        by_columns = "inputs" in request
        answer = Columns("predictions") if by_columns else Rows()
        return read_frame(request, version, self._limits), answer

    def _read_v1(self, request: dict[str, object], version: Version) -> Read:
        reading = read_v1(request, version, self._limits)
        return reading, Rows() if is_by_rows(request) else Columns(self._column_key)

    def _as_v2(self, dialect: Dialect, reading: Reading, version: Version) -> Read:
        refuse_unwritable(version, reading.wanted)
        if dialect is Dialect.VERTEX:
            return reading, reading.wanted
        return reading, SageMaker(reading.wanted)


def _is_v2(request: dict[str, object]) -> bool:
    inputs = request.get("inputs")
    if not isinstance(inputs, list) or not inputs:
        return False
    return all(isinstance(one, dict) and one.keys() >= _V2_MEMBERS for one in inputs)
