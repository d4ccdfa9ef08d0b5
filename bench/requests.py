"""What the clients send and what the canned servers answer.

Real rows of scikit-learn's digits (64 raw pixels, 0.0 to 16.0), one row a request, as
V2 JSON, each different from the others: a server that answers twins from memory, or a
branch predictor that learns one body, finds nothing here.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

INFER = "/v2/models/digits/infer"
READY = "/v2/health/ready"

# What a gateway answers to one row of digits, so that canned servers write as much.
ANSWER = json.dumps(
    {
        "model_name": "digits",
        "model_version": "1",
        "outputs": [
            {"name": "label", "datatype": "INT64", "shape": [1], "data": [3]},
            {
                "name": "scores",
                "datatype": "FP32",
                "shape": [1, 10],
                "data": [round(0.0123456 * part, 8) for part in range(1, 11)],
            },
        ],
    },
    separators=(",", ":"),
).encode()


@dataclass(frozen=True, slots=True)
class Target:
    """One kind of request: where it goes, and the file with one body a line (or none: GET).

    `names_itself`: each has its own x-request-id, so that no two heads are alike. `headers`
    are lines that each has besides (`name: value`).
    """

    path: str
    bodies: Path | None
    names_itself: bool = False
    headers: tuple[str, ...] = ()

    def formatted(self) -> list[bytes]:
        """Every request ready for the socket, headers included."""
        lines = "".join(f"{line}\r\n" for line in self.headers)
        if self.bodies is None:
            return [f"GET {self.path} HTTP/1.1\r\nhost: bench\r\n{lines}\r\n".encode()]
        return [_post(self.path, lines, body) for body in self.bodies.read_bytes().splitlines()]


def write_bodies(file: Path, count: int, rows_each: int = 1) -> None:
    """Write `count` distinct bodies of `rows_each` rows, one a line.

    Raises: ValueError when the data set has fewer distinct rows.
    """
    # slow to import, and only the parent needs it
    from sklearn.datasets import load_digits  # noqa: PLC0415 - as above

    rows = list(dict.fromkeys(tuple(row) for row in load_digits().data.tolist()))
    if len(rows) < count * rows_each:
        raise ValueError(f"asked for {count * rows_each} distinct rows, digits has {len(rows)}")
    groups = (rows[at * rows_each : (at + 1) * rows_each] for at in range(count))
    file.write_bytes(b"".join(v2_body(group) + b"\n" for group in groups))


def v2_body(rows: Sequence[Sequence[float]]) -> bytes:
    """Rows as one V2 inference request, floats printed as floats (`5.0`)."""
    values = [value for row in rows for value in row]
    shape = [len(rows), len(rows[0])]
    tensor = {"name": "x", "shape": shape, "datatype": "FP32", "data": values}
    return json.dumps({"inputs": [tensor]}, separators=(",", ":")).encode()


def _post(path: str, lines: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n{lines}"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body
