"""Failures: every error has its status, its three members and its headers."""

import orjson
import pytest

from gateway import errors
from gateway.wire.failures import STATUS, Refused, describe, status_of, too_large


def every(kind: type[errors.GatewayError]) -> list[type[errors.GatewayError]]:
    return [kind, *(one for child in kind.__subclasses__() for one in every(child))]


OURS = [kind for kind in every(errors.GatewayError) if kind.__module__ == "gateway.errors"]
LEAVES = [kind for kind in OURS if not [one for one in kind.__subclasses__() if one in OURS]]
MORE: dict[type[errors.GatewayError], tuple[object, ...]] = {  # what some say beside their text
    errors.InvalidDocument: ((),),
    errors.RevisionConflict: (3,),
}


@pytest.mark.parametrize("kind", LEAVES)
def test_every_leaf_of_the_error_tree_has_a_status_of_its_own(
    kind: type[errors.GatewayError],
) -> None:
    assert kind in STATUS


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.Malformed("m"), 400, "malformed"),
        (errors.InvalidTensor("m"), 400, "invalid_tensor"),
        (errors.UnknownModel("m"), 404, "unknown_model"),
        (errors.UnknownVersion("m"), 404, "unknown_version"),
        (errors.Unauthenticated("m"), 401, "unauthenticated"),
        (errors.Forbidden("m"), 403, "forbidden"),
        (errors.CannotPrepare("m"), 409, "cannot_prepare"),
        (errors.TooLarge("m"), 413, "too_large"),
        (errors.Overloaded("m"), 429, "overloaded"),
        (errors.NotReady("m"), 503, "not_ready"),
        (errors.Draining("m"), 503, "draining"),
        (errors.DeadlineExceeded("m"), 504, "deadline_exceeded"),
        (errors.ModelFailed("m"), 500, "model_failed"),
        (errors.ClientGone("m"), 499, "client_gone"),
        (errors.GatewayError("m"), 500, "internal"),
        (Refused(415, "m", code="unsupported_media_type"), 415, "unsupported_media_type"),
        (Refused(431, "m"), 431, "malformed"),
    ],
)
def test_an_error_has_the_status_and_code_of_the_contract(
    error: errors.GatewayError, status: int, code: str
) -> None:
    told, body, _ = describe(error, "r-1")
    assert told == status_of(error) == status
    assert orjson.loads(body) == {"error": "m", "code": code, "request_id": "r-1"}


def test_an_error_below_a_known_one_has_its_status() -> None:
    class Stuck(errors.ModelFailed):
        pass

    assert status_of(Stuck("m")) == 500


def test_what_we_did_not_name_tells_a_client_nothing() -> None:
    status, body, headers = describe(ValueError("secret"), "r-1")
    assert (status, headers) == (500, ())
    assert orjson.loads(body) == {
        "error": "internal error",
        "code": "internal",
        "request_id": "r-1",
    }


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.0, "1"), (0.2, "1"), (1.0, "1"), (1.1, "2"), (7.0, "7")]
)
def test_who_may_come_again_is_told_when_in_whole_seconds(seconds: float, told: str) -> None:
    _, _, headers = describe(errors.Overloaded("m", retry_after_s=seconds), "r-1")
    assert headers == (("retry-after", told),)
    _, _, headers = describe(errors.Draining("m", retry_after_s=seconds), "r-1")
    assert headers == (("retry-after", told),)


def test_others_are_not_told_to_come_again() -> None:
    assert describe(errors.Malformed("m"), "r-1")[2] == ()
    assert describe(errors.ModelFailed("m"), "r-1")[2] == ()


def test_a_refusal_brings_its_own_headers() -> None:
    refused = Refused(405, "m", headers=(("allow", "GET"),))
    assert describe(refused, "r-1")[2] == (("allow", "GET"),)


@pytest.mark.parametrize("kind", LEAVES)
def test_an_error_without_a_text_says_its_code(kind: type[errors.GatewayError]) -> None:
    _, body, _ = describe(kind("", *MORE.get(kind, ())), "r-1")
    assert orjson.loads(body)["error"] == kind.code


def test_a_body_too_large_is_refused_with_both_sizes_and_the_setting() -> None:
    status, body, _ = describe(too_large(101, 100), "r")
    assert status == 413
    assert orjson.loads(body)["error"] == (
        "request JSON size of 101 bytes exceeds the maximum allowed input size of 100 bytes "
        "(limits.max_body_bytes)"
    )


def test_who_is_not_known_is_told_how_to_be() -> None:
    kinds = (errors.Unauthenticated, errors.Forbidden)
    told = {kind: describe(kind("m"), "r-1")[2] for kind in kinds}
    assert told == {
        errors.Unauthenticated: (("www-authenticate", 'Bearer realm="gateway"'),),
        errors.Forbidden: (),
    }
