"""Fitting: can one version answer what another was asked?

Job    hold shadows and the fallback against the variants whose calls they get.
Life   pure functions.
Never  compares a version whose signature nobody knows yet.

A shadow is asked what a variant was asked: it takes the same inputs. A fallback answers in
place of a variant, to a caller who does not know: it takes the same and gives the same, but
for the shapes of what it gives.
"""

from collections.abc import Mapping, Sequence

from gateway.core.arms import Arm
from gateway.core.reading import Fault, Place, quoted, some
from gateway.types import Signature, TensorSpec

Signatures = Mapping[str, Signature | None]


def shadow_faults(
    shadows: Sequence[Arm], variants: Sequence[Arm], signatures: Signatures
) -> list[Fault]:
    """Return what keeps shadows from being asked, and from being compared as they are to be."""
    faults: list[Fault] = []
    for shadow in shadows:
        own = _signature(shadow, signatures)
        if own is None:
            continue
        version, outputs = f"version '{shadow.version}'", [spec.name for spec in own.outputs]
        others = [one for one in variants if not _takes_the_same(own, one, signatures)]
        if others:
            what = f"expected the inputs of {_named(others)}, got those of {version}"
            faults.append((f"{shadow.place.path}.version", f"{what}: {_shown(own.inputs)}"))
        faults += [
            (place.path, f"expected an output of {version}: {some(outputs)}, got {quoted(name)}")
            for name, place in shadow.outputs
            if name not in outputs
        ]
    return faults


def fallback_faults(
    place: Place, fallback: Arm, answered_for: Sequence[Arm], signatures: Signatures
) -> list[Fault]:
    """Return what keeps the fallback from answering for others."""
    own = _signature(fallback, signatures)
    others = [one for one in answered_for if own and not _gives_the_same(own, one, signatures)]
    if not others:
        return []
    what = f"null, or a variant with the inputs and outputs of {_named(others)}"
    return [(place.path, f"expected {what}, got '{fallback.name}' of version '{fallback.version}'")]


def can_answer_for(own: Signature, other: Signature) -> bool:
    """Say whether what was read for `other` can be answered by `own`, and nobody notices."""
    return other.inputs == own.inputs and _answers(other.outputs) == _answers(own.outputs)


def _signature(arm: Arm, signatures: Signatures) -> Signature | None:
    return None if arm.version is None else signatures.get(arm.version)


def _takes_the_same(own: Signature, arm: Arm, signatures: Signatures) -> bool:
    other = _signature(arm, signatures)
    return other is None or other.inputs == own.inputs


def _gives_the_same(own: Signature, arm: Arm, signatures: Signatures) -> bool:
    other = _signature(arm, signatures)
    return other is None or can_answer_for(own, other)


def _answers(outputs: Sequence[TensorSpec]) -> list[tuple[str, str]]:
    return [(one.name, one.datatype) for one in outputs]


def _named(arms: Sequence[Arm]) -> str:
    return some([f"version '{one.version}' ({one.place.path})" for one in arms])


def _shown(specs: Sequence[TensorSpec]) -> str:
    return some([f"{one.name} {one.datatype} {list(one.shape)}" for one in specs])
