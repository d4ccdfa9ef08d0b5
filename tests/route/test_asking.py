"""One execution of a shadow, and what it shows against what the callers got."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gateway.core.documents import Comparison, Shadow
from gateway.core.stacking import stack
from gateway.errors import ModelFailed
from gateway.route.asking import Asking, Disagreement, Execute, Findings, Fit, Unfit, fit
from gateway.types import Arm, Array, Call, Outputs, Signature, TensorSpec, Version
from tests.fakes import POISON, TWICE, FakeModel, Poisoned, a_call, deaf

SHADOW = Shadow("new", "2", 1.0)
LABELS = Shadow("new", "2", 1.0, {"y": Comparison("label")})
CANDIDATE = Version("twice", "2", TWICE.signature)
X, Y, Z = (TensorSpec(name, "FP32", (-1, -1)) for name in "xyz")
PLAIN = Signature((X, Z), (Y,), 8)


def told(calls: Sequence[Call], array: Array | None = None) -> list[Call]:
    """Answer calls with one execution: by the fake model, or with `array`."""
    arrays = [array] if array is not None else FakeModel().execute(calls).arrays
    outputs, start = Outputs(arrays, len(calls)), 0
    for call in calls:
        call.answer(outputs, start, start + call.rows)
        start += call.rows
    return list(calls)


def still() -> float:
    return 7.0


def asking(
    execute: Execute,
    shadow: Shadow = SHADOW,
    version: Version = CANDIDATE,
    clock: Any = still,
) -> Asking:
    return Asking(shadow, version, execute, clock)


def odd_at(*odd: float) -> Execute:
    """Return a shadow that is wrong by so much as the row's number, for these rows."""

    def execute(calls: Sequence[Call]) -> Outputs:
        (array,) = stack(calls, TWICE.signature)
        wrong = np.where(np.isin(array, odd), array, np.float32(0))
        return Outputs([array * np.float32(2) + wrong], len(calls))

    return execute


def test_a_shadow_that_says_the_same_agrees() -> None:
    calls = told([a_call(1, 2), a_call(3)])
    assert asking(FakeModel().execute).ask(calls, 99) == Findings(2, 0, [0], [])


def test_what_callers_asked_becomes_one_call_of_the_shadows_version() -> None:
    heard: list[Call] = []

    def listens(calls: Sequence[Call]) -> Outputs:
        heard.extend(calls)
        return FakeModel().execute(calls)

    asking(listens).ask(told([a_call(1, 2), a_call(3)]), 99)
    (call,) = heard
    assert (call.arm.version, call.rows, call.shapes) == (CANDIDATE, 3, ((1,),))
    assert stack([call], TWICE.signature)[0].tolist() == [[1], [2], [3]]
    call.fail(ModelFailed("nobody hears this"))


def test_a_call_disagrees_if_any_of_its_rows_does_and_rows_are_counted_too() -> None:
    calls = told([a_call(1, 2, 3), a_call(4), a_call(5, 6), a_call(7)])
    findings = asking(odd_at(2, 3, 6)).ask(calls, 99)
    assert (findings.agreed, findings.disagreed, findings.rows) == (2, 2, [3])


def test_calls_that_were_answered_by_several_executions_are_compared_in_their_order() -> None:
    first = told([a_call(1), a_call(2), a_call(3)])
    second = told([a_call(4), a_call(5)])
    mixed = [first[2], first[0], second[0], second[1], first[1]]
    assert asking(FakeModel().execute).ask(mixed, 99) == Findings(5, 0, [0], [])
    assert asking(odd_at(5)).ask(mixed, 99).rows == [1]


def test_more_rows_than_fit_go_in_several_executions() -> None:
    model = FakeModel()
    sizes: list[int] = []

    def listens(calls: Sequence[Call]) -> Outputs:
        sizes.extend(call.rows for call in calls)
        return model.execute(calls)

    assert asking(listens).ask(told([a_call(1, 2, 3, 4, 5)]), 2) == Findings(1, 0, [0], [])
    assert sizes == [2, 2, 1]


def test_parts_that_do_not_rejoin_are_a_failure_of_the_shadow() -> None:
    def grows(calls: Sequence[Call]) -> Outputs:
        rows = calls[0].rows
        return Outputs([np.zeros((rows, rows))], 1)

    with pytest.raises(ModelFailed, match="do not rejoin"):
        asking(grows).ask(told([a_call(1, 2, 3)]), 2)


def test_what_a_shadow_raises_is_raised() -> None:
    with pytest.raises(Poisoned):
        asking(FakeModel().execute).ask(told([a_call(1), a_call(POISON)], np.zeros((2, 1))), 99)


def test_the_document_says_how_an_output_is_compared() -> None:
    near = told([a_call(1)], np.array([[2.000001]], dtype="<f4"))
    assert asking(FakeModel().execute).ask(near, 99).agreed == 1
    assert asking(FakeModel().execute, LABELS).ask(near, 99).disagreed == 1


def test_the_worst_row_is_shown_with_what_was_asked_and_said() -> None:
    calls = told([a_call(1, width=20), a_call(2, 3, width=20), a_call(4, width=20)])
    findings = asking(odd_at(1, 3), LABELS).ask(calls, 99)
    assert findings.worst == [
        Disagreement("y", 1.0, {"x": [1.0] * 16}, [2.0] * 16, [3.0] * 16, 7.0)
    ]


def test_disagreements_are_shown_a_few_a_second_and_only_ever_worse_ones() -> None:
    """Five are kept of each output: after that only a worse one is news."""
    now = iter(range(100))
    one = asking(odd_at(*range(1, 50)), clock=lambda: float(next(now)))
    shown = [one.ask(told([a_call(3)]), 99).worst for _ in range(7)]
    assert [len(worst) for worst in shown] == [1, 1, 1, 1, 1, 0, 0]
    calm = asking(odd_at(3), clock=iter([0.0, 0.1, 0.2, 0.3]).__next__)
    assert [len(calm.ask(told([a_call(3)]), 99).worst) for _ in range(4)] == [1, 0, 0, 1]


def test_answers_whose_lengths_depend_on_their_company_are_no_answers_to_compare() -> None:
    short = told([a_call(1)], np.zeros((1, 2), "<f4"))
    longer = told([a_call(2)], np.zeros((1, 3), "<f4"))
    findings = asking(lambda calls: Outputs([np.zeros((2, 3), "<f4")], 1)).ask(short + longer, 99)
    assert (findings.disagreed, findings.worst[0].distance) == (2, math.inf)


def test_rows_are_shown_flat_and_strings_short() -> None:
    words = Signature((TensorSpec("w", "BYTES", (-1,)),), (TensorSpec("n", "BYTES", (-1,)),), 8)
    primary = Arm(Version("words", "1", words))
    calls = [Call(primary, (["a" * 999],), 1, ((),), deaf), Call(primary, (["b"],), 1, ((),), deaf)]
    told(calls, np.array(["x", "y"], dtype=object))

    def echoes(asked: Sequence[Call]) -> Outputs:
        (array,) = stack(asked, words)
        return Outputs([array], 1)

    (worst,) = asking(echoes, version=Version("words", "2", words)).ask(calls, 99).worst
    assert (worst.asked, worst.primary) == ({"w": ["a" * 200]}, ["x"])
    assert worst.shadow == ["a" * 200]


def floats(*numbers: float) -> Array:
    return np.array(numbers, dtype="<f4")


def single(name: str, number: str) -> Version:
    spec = TensorSpec(name, "FP32", (2,))
    return Version("single", number, Signature((spec,), (Y,), 0))


def test_a_model_without_a_batch_axis_is_compared_whole() -> None:
    call = Call(Arm(single("x", "1")), (floats(1, 2).tobytes(),), 1, ((2,),), deaf)
    told([call], floats(2, 4))

    def answers(array: Array) -> Callable[[Sequence[Call]], Outputs]:
        return lambda calls: Outputs([array], 1)

    right = asking(answers(floats(2, 4)), version=single("x", "2"))
    assert right.ask([call], 99) == Findings(1, 0, [0], [])
    wrong = asking(answers(floats(2, 5)), LABELS, single("x", "2"))
    worst = Disagreement("y", 0.5, {"x": [1.0, 2.0]}, [2.0, 4.0], [2.0, 5.0], 7.0)
    assert wrong.ask([call], 99) == Findings(0, 1, [1], [worst])


def test_inputs_and_outputs_are_known_by_name() -> None:
    shadow = Signature((Z, X), (Z, Y), 4)
    assert fit(PLAIN, shadow) == Fit((1, 0), (None, 0))


def test_an_output_that_no_caller_got_is_not_compared() -> None:
    shadow = Signature(TWICE.signature.inputs, (Z, Y), 4)

    def answers(calls: Sequence[Call]) -> Outputs:
        (array,) = stack(calls, shadow)
        return Outputs([array, array * np.float32(2)], 1)

    version = Version("twice", "3", shadow)
    findings = asking(answers, version=version).ask(told([a_call(1)]), 99)
    assert findings == Findings(1, 0, [0, 0], [])


@pytest.mark.parametrize(
    ("shadow", "expected"),
    [
        (replace(PLAIN, inputs=(X,)), "inputs"),
        (replace(PLAIN, inputs=(X, replace(Z, datatype="INT8"))), "inputs"),
        (replace(PLAIN, outputs=(Z,)), "outputs"),
        (replace(PLAIN, max_batch_rows=0), "batch axis"),
    ],
)
def test_a_shadow_of_another_kind_cannot_be_asked(shadow: Signature, expected: str) -> None:
    with pytest.raises(Unfit, match=expected):
        fit(PLAIN, shadow)
