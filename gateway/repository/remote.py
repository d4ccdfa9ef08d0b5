"""Remote: from a version that runs elsewhere to what asks the servers that run it.

Job    find its secrets and authorities; see that a server is ready for it, and that none is
       ready with other tensors than those declared.
Life   when such a version is proved, in a child, and again wherever it is loaded.
Never  changes what the version is: its digest is that of its files, its signature stands in
       them. What runs under its name elsewhere is the promise of those who run it.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from gateway.execute.probe import Probe
from gateway.execute.session import LoadFailed
from gateway.execute.upstream import RemoteModel, Terms, Upstream
from gateway.repository.agreeing import disagreements
from gateway.repository.manifest import identify
from gateway.repository.proof import Found, Proof
from gateway.repository.reasons import few
from gateway.repository.settings import RemoteSettings
from gateway.types import Shape, Signature

_NO_SHAPES: Mapping[str, Shape] = {}


@contextmanager
def probed(found: Found, trial_shapes: Mapping[str, Shape]) -> Iterator[Probe]:
    """Give what asks a server that is ready for the version. Raises: LoadFailed."""
    probe = Probe(model_of(found), trial_shapes)
    with ExitStack() as stack:
        try:
            stack.enter_context(probe)
        except OSError as error:
            raise LoadFailed(f"{found.onnx}: its authorities cannot be read: {error}") from error
        _check(found, probe)
        yield probe


def reached(proof: Proof) -> RemoteModel:
    """Return a version that was proved, if its files are still those, and a server is ready.

    Raises: LoadFailed.
    """
    found = proof.found
    try:
        digest = identify(found)
    except (OSError, ValueError) as error:
        raise LoadFailed("\n".join(few(str(error).splitlines()))) from error
    if digest != proof.digest:
        raise LoadFailed(
            f"{found.folder}: changed since it was proved: expected digest {proof.digest}, "
            f"got {digest}"
        )
    with probed(found, _NO_SHAPES):
        return model_of(found)


def model_of(found: Found) -> RemoteModel:
    """Return where a version runs, and what it takes and gives. Raises: LoadFailed."""
    settings = found.settings
    remote = settings.remote
    assert remote is not None
    terms = Terms(
        remote.connections,
        remote.connect_timeout_s,
        remote.max_answer_bytes,
        None if remote.ca_file is None else found.folder / Path(remote.ca_file),
    )
    upstream = Upstream(
        remote.endpoints,
        found.model if remote.model is None else remote.model,
        found.version if remote.version is None else remote.version,
        remote.timeout_s,
        terms,
        _headers(found, remote),
    )
    signature = Signature(
        settings.declared_inputs or (),
        settings.declared_outputs or (),
        settings.batching.max_batch_size,
    )
    return RemoteModel(upstream, signature)


def _headers(found: Found, remote: RemoteSettings) -> dict[str, str]:
    """Return what is said with each request; the values are secrets. Raises: LoadFailed."""
    missing = [name for name in remote.headers_env.values() if not os.environ.get(name)]
    if missing:
        raise LoadFailed(f"{found.onnx}: the environment has no {', '.join(sorted(missing))}")
    unfit = [name for name in remote.headers_env.values() if not os.environ[name].isprintable()]
    if unfit:
        what = f"{', '.join(sorted(unfit))} holds what no header may, a line's end for one"
        raise LoadFailed(f"{found.onnx}: {what}")
    return {header: os.environ[name] for header, name in remote.headers_env.items()}


def _check(found: Found, probe: Probe) -> None:
    declared = probe.signature.inputs, probe.signature.outputs
    sights = probe.look()
    faults = [
        f"{found.onnx}: {one.endpoint}: {fault}"
        for one in sights
        if not one.trouble
        for fault in disagreements(declared, (one.inputs, one.outputs))
    ]
    if faults:
        raise LoadFailed("\n".join(few(faults)))
    if all(one.trouble for one in sights):
        troubles = [f"{found.onnx}: {one.endpoint}: {one.trouble}" for one in sights]
        raise LoadFailed("\n".join(few(troubles)))
