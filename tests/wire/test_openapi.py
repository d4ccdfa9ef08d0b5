"""The data port's own document: whole, and true of the models that are served."""

import json
import re
from typing import Any

import pytest

from gateway.types import Signature, TensorSpec
from gateway.wire.openapi import document
from gateway.wire.paths import Routes

X = TensorSpec("x", "FP32", (-1, 4))
MODELS = {
    "digits": Signature((X,), (TensorSpec("y", "INT64", (-1,)),), 8),
    "a b/é": Signature((X, TensorSpec("half", "FP16", (-1,))), (X,), 8),
}
ROUTES = Routes("digits", predict=("predict",), health=("health", "7"))


def told(routes: Routes = ROUTES, **more: bool) -> dict[str, Any]:
    return document(MODELS, routes, **more)


def test_it_is_json_and_every_reference_leads_somewhere() -> None:
    text = json.dumps(told(is_explicit=True))
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
    load = "/v2/repository/models/{model}/load"
    assert load in told(is_explicit=True)["paths"]
    assert load not in told()["paths"]
