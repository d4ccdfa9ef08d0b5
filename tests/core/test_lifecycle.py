"""What state a version is in, and what may happen to it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.lifecycle import (
    Cause,
    Event,
    Illegal,
    Load,
    Loaded,
    Loading,
    Quarantined,
    Ready,
    Refused,
    Reloading,
    State,
    Unavailable,
    Unload,
    Unloaded,
    Unloading,
    after,
    is_quarantined,
    is_ready,
    name_of,
    reason_of,
)

QUARANTINE = Unavailable(Cause.QUARANTINED, "it killed")
EVENTS: st.SearchStrategy[Event] = st.sampled_from(
    [Load(), Loaded(), Refused("r"), Unload(), Unloaded(), Quarantined("q")]
)


@pytest.mark.parametrize(
    ("state", "event", "expected"),
    [
        (Unavailable(), Load(), Loading(Unavailable())),
        (Unavailable(), Refused("no opset"), Unavailable(Cause.FAILED, "no opset")),
        (Unavailable(), Unload(), Unloading()),
        (QUARANTINE, Refused("x"), Unavailable(Cause.QUARANTINED, "x")),
        (Unavailable(Cause.UNLOADED, "u"), Refused("x"), Unavailable(Cause.UNLOADED, "u")),
        (Loading(Unavailable()), Loaded(), Ready()),
        (Loading(Unavailable()), Refused("nan"), Unavailable(Cause.FAILED, "nan")),
        (Loading(QUARANTINE), Refused("nan"), Unavailable(Cause.QUARANTINED, "nan")),
        (Loading(QUARANTINE), Loaded(), Ready()),
        (Ready(), Load(), Reloading(Ready())),
        (Ready("old"), Refused("new"), Ready("new")),
        (Ready(), Unload(), Unloading()),
        (Ready(), Quarantined("twice"), Unavailable(Cause.QUARANTINED, "twice")),
        (Reloading(Ready("old")), Loaded(), Ready()),
        (Reloading(Ready()), Refused("new"), Ready("new")),
        (Reloading(Ready()), Quarantined("q"), Loading(Unavailable(Cause.QUARANTINED, "q"))),
        (Unloading(), Unloaded(), Unavailable(Cause.UNLOADED, "unloaded")),
    ],
)
def test_what_happens_to_a_version(state: State, event: Event, expected: State) -> None:
    assert after(state, event) == expected


@pytest.mark.parametrize(
    ("state", "event"),
    [
        (Unavailable(), Loaded()),
        (Ready(), Loaded()),
        (Ready(), Unloaded()),
        (Loading(Unavailable()), Load()),
        (Loading(Unavailable()), Unload()),
        (Reloading(Ready()), Unload()),
        (Unloading(), Load()),
    ],
)
def test_what_cannot_happen_is_a_fault_that_says_so(state: State, event: Event) -> None:
    with pytest.raises(Illegal, match=type(event).__name__):
        after(state, event)


@given(st.lists(EVENTS, max_size=30))
def test_whatever_happens_callers_are_answered_only_from_a_load_to_what_ended_it(
    events: list[Event],
) -> None:
    state: State = Unavailable()
    is_loaded = False
    for event in events:
        try:
            state = after(state, event)
        except Illegal:
            continue
        if isinstance(event, Loaded):
            is_loaded = True
        elif isinstance(event, Unload | Quarantined):
            is_loaded = False
        assert is_ready(state) == is_loaded
        assert (name_of(state) == "READY") == is_loaded
        assert is_loaded or reason_of(state)
        assert not (is_loaded and is_quarantined(state))


@pytest.mark.parametrize(
    ("state", "name", "reason"),
    [
        (Unavailable(), "UNAVAILABLE", "not loaded"),
        (Loading(Unavailable()), "LOADING", "being loaded"),
        (Loading(QUARANTINE), "LOADING", "it killed"),
        (Ready(), "READY", ""),
        (Reloading(Ready("was refused")), "READY", "was refused"),
        (Unloading(), "UNLOADING", "being unloaded"),
    ],
)
def test_a_state_has_the_protocol_s_name_and_a_reason(state: State, name: str, reason: str) -> None:
    assert (name_of(state), reason_of(state)) == (name, reason)
