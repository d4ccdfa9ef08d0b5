"""The servers that the bench itself provides: `python -m bench.servers KIND --port N`.

Each runs alone in a child process, which the bench pins to the server's processor.
What a kind needs is imported when it runs: the bare server must not carry the gateway.
"""

import argparse
from pathlib import Path

PLAIN = ("bare", "uvicorn")
STAGES = ("asgi", "lane", "decode", "batch", "encode")


def main() -> None:
    """Serve the named kind on loopback until killed."""
    parser = argparse.ArgumentParser(prog="python -m bench.servers")
    parser.add_argument("kind", choices=[*PLAIN, *STAGES])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--models", type=Path, default=Path("models"))
    arguments = parser.parse_args()
    serve(arguments.kind, arguments.port, arguments.models)


def serve(kind: str, port: int, models: Path) -> None:
    """Serve one kind until killed."""
    if kind == "bare":
        from bench import bare  # noqa: PLC0415 - see above

        bare.run(port)
    elif kind == "uvicorn":
        from bench import plain_asgi  # noqa: PLC0415 - see above

        plain_asgi.run(port)
    else:
        from bench import stages  # noqa: PLC0415 - see above

        stages.run(kind, models, port)


if __name__ == "__main__":
    main()
