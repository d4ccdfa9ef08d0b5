from bench import lookup


def test_every_model_that_is_asked_for_is_known() -> None:
    flow = lookup.flow_of(7)
    assert len(flow.models) == 7
    assert set(lookup.asked(flow, is_one=False)) == set(flow.models)
    assert len(set(lookup.asked(flow, is_one=True))) == 1


def test_names_are_strings_of_their_own_as_from_a_request() -> None:
    first, *others = lookup.asked(lookup.flow_of(1), is_one=True)
    assert not any(first is other for other in others)


def test_a_look_up_takes_time() -> None:
    flow = lookup.flow_of(2)
    assert lookup.find_s(flow, lookup.asked(flow, is_one=False)) > 0
