"""The data port's own document: whole, and true of the models that are served."""

import json
import re
from typing import Any

import pytest

from gateway.types import Signature, TensorSpec
from gateway.wire.keys import NO_KEYS, Keys
from gateway.wire.openapi import document
from gateway.wire.paths import Routes
from tests.wire.splitting import GUARDED, KEYS

X = TensorSpec("x", "FP32", (-1, 4))
MODELS = {
    "digits": Signature((X,), (TensorSpec("y", "INT64", (-1,)),), 8),
    "a b/é": Signature((X, TensorSpec("half", "FP16", (-1,))), (X,), 8),
}
ROUTES = Routes("digits", predict=("predict",), health=("health", "7"))


LOAD = "/v2/repository/models/{model}/load"
PREDICTIONS = ["/v2/models/{model}/infer", "/v2/models/digits/infer", "/invocations", "/predict",
               "/v1/models/{model}:predict"]  # fmt: skip
VERSIONED = [
    "/v2/models/{model}/versions/{version}/infer",
    "/v1/models/{model}/versions/{version}:predict",
]


def told(routes: Routes = ROUTES, **more: Any) -> dict[str, Any]:
    return document(MODELS, routes, **more)


@pytest.mark.parametrize("keys", [NO_KEYS, KEYS, GUARDED])
def test_it_is_json_and_every_reference_leads_somewhere(keys: Keys) -> None:
    text = json.dumps(told(is_explicit=True, keys=keys))
    found = json.loads(text)
    for reference in re.findall(r'"\$ref": "#/([^"]+)"', text):
        place = found
        for name in reference.split("/"):
            place = place[name]


def test_every_name_in_a_path_is_a_parameter() -> None:
    for path, item in told(is_explicit=True)["paths"].items():
        names = re.findall(r"\{(\w+)\}", path)
        assert [one["name"] for one in item.get("parameters", [])] == names


def test_each_model_has_a_path_and_schemas_of_its_own() -> None:
    found = told()
    assert "/v2/models/digits/infer" in found["paths"]
    assert "/v2/models/a%20b%2F%C3%A9/infer" in found["paths"]
    schemas = found["components"]["schemas"]
    assert {"Request.digits", "Answer.digits", "Request.a_20_b_2f__e9_"} <= set(schemas)


@pytest.mark.parametrize("path", ["/invocations", "/ping", "/predict", "/health/7"])
def test_routes_of_containers_are_there_with_a_default_model(path: str) -> None:
    assert path in told()["paths"]
    assert path not in told(Routes())["paths"]


def test_load_and_unload_are_there_where_callers_may() -> None:
    assert LOAD in told(is_explicit=True)["paths"]
    assert LOAD not in told()["paths"]


@pytest.mark.parametrize("path", PREDICTIONS)
def test_a_prediction_takes_a_key_where_one_is_for_it_and_may_where_one_pins(path: str) -> None:
    either: list[dict[str, list[str]]] = [{"key": []}, {"bearer": []}]
    guarded, open_ = (told(keys=keys)["paths"][path]["post"] for keys in (GUARDED, KEYS))
    assert (guarded["security"], open_["security"]) == (either, [*either, {}])
    for one in (guarded, open_):
        assert {"401", "403"} <= set(one["responses"])
        assert [pin["name"] for pin in one["parameters"]] == ["x-gateway-variant"]


def test_loads_take_a_key_as_soon_as_there_is_one_and_what_is_read_takes_none() -> None:
    paths = told(is_explicit=True, keys=KEYS)["paths"]
    assert paths[LOAD]["post"]["security"] == [{"key": []}, {"bearer": []}]
    assert "401" in paths[LOAD]["post"]["responses"]
    reads = [one["get"] for one in paths.values() if "get" in one]
    assert len(reads) > 10
    assert not any("security" in one for one in reads)


def test_the_schemes_are_the_headers_that_a_key_is_read_from() -> None:
    found = told(keys=KEYS)["components"]
    assert found["securitySchemes"] == {
        "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
        "bearer": {"type": "http", "scheme": "bearer"},
    }


def test_without_keys_there_is_no_word_of_them_nor_of_pins() -> None:
    found = told(is_explicit=True)
    assert "securitySchemes" not in found["components"]
    posts = [one["post"] for one in found["paths"].values() if "post" in one]
    assert len(posts) > 5
    for one in posts:
        assert {"security", "parameters"}.isdisjoint(one)
        assert "401" not in one["responses"]


@pytest.mark.parametrize("path", PREDICTIONS)
def test_an_answer_names_version_variant_and_revision(path: str) -> None:
    named = told()["paths"][path]["post"]["responses"]["200"]["headers"]
    assert set(named) == {"x-gateway-version", "x-gateway-variant", "x-gateway-revision"}


@pytest.mark.parametrize("path", VERSIONED)
def test_where_the_path_names_a_version_there_is_no_variant_to_be_named_or_pinned(
    path: str,
) -> None:
    open_, guarded = (told(keys=keys)["paths"][path]["post"] for keys in (KEYS, GUARDED))
    for one in (open_, guarded):
        assert set(one["responses"]["200"]["headers"]) == {"x-gateway-version"}
        assert "parameters" not in one
    assert "security" not in open_
    assert guarded["security"] == [{"key": []}, {"bearer": []}]


def test_only_invocations_may_be_csv() -> None:
    bodies = {
        path: one["post"]["requestBody"]["content"]
        for path, one in told()["paths"].items()
        if "post" in one
    }
    assert [path for path, kinds in bodies.items() if "text/csv" in kinds] == ["/invocations"]
