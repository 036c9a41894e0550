"""Whatever number a client can send has a smallest and a largest value; beyond them it is refused by its name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from monailabel_app.app.infer_task import BatchParams, InferParams, Params
from monailabel_app.app.sampling import SampleParams
from monailabel_app.app.train_task import TrainParams
from uncertaintyseg import wire
from uncertaintyseg.errors import InputError

PARAMS: tuple[type[Params], ...] = (InferParams, BatchParams, TrainParams, SampleParams)
HUGE = ("1" + "0" * 400, "-1" + "0" * 400, "1e300", "-1e300", "NaN", "Infinity", "-Infinity")


def numbers(schema: dict[str, Any], definitions: dict[str, Any], at: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """All numbers in a JSON schema, each with its place."""
    if "$ref" in schema:
        schema = definitions[schema["$ref"].split("/")[-1]]
    if schema.get("type") in ("integer", "number"):
        yield at, schema
    several = [part for key in ("anyOf", "oneOf", "allOf", "prefixItems") for part in schema.get(key, ())]
    children = [(at, part) for part in several] + [(f"{at}.{k}", v) for k, v in schema.get("properties", {}).items()]
    children += [(f"{at}[]", v) for k in ("items", "additionalProperties") if isinstance(v := schema.get(k), dict)]
    for place, part in children:
        yield from numbers(part, definitions, place)


def is_bounded(schema: dict[str, Any]) -> bool:
    return all(any(f"{kind}{end}" in schema for kind in ("m", "exclusiveM")) for end in ("inimum", "aximum"))


@pytest.fixture(scope="module")
def spec() -> dict[str, Any]:
    from monailabel_app.asgi import app

    return app.openapi()


def test_every_number_of_every_route_has_bounds(spec):
    definitions, found = spec["components"]["schemas"], []
    for path, methods in spec["paths"].items():
        for method, route in methods.items():
            schemas = [(each["name"], each["schema"]) for each in route.get("parameters", ())]
            schemas += [("body", each["schema"]) for each in route.get("requestBody", {}).get("content", {}).values()]
            for name, schema in schemas:
                found += [(f"{method} {path} {at}", part) for at, part in numbers(schema, definitions, name)]
    assert len(found) > 20
    assert not [at for at, part in found if not is_bounded(part)]


@pytest.mark.parametrize("kind", [*PARAMS, wire.ReviewRequest], ids=lambda kind: kind.__name__)
def test_every_number_of_params_in_a_form_has_bounds(kind: type[BaseModel]):
    schema = kind.model_json_schema()
    found = list(numbers(schema, schema.get("$defs", {}), kind.__name__))
    assert found
    assert not [at for at, part in found if not is_bounded(part)]


@pytest.mark.parametrize("huge", HUGE, ids=lambda text: text[:9])
@pytest.mark.parametrize(
    ("kind", "field"),
    [
        (kind, field)
        for kind in PARAMS
        for schema in [kind.model_json_schema()]
        for field, part in schema["properties"].items()
        if any(at.count(".") == 0 and "[]" not in at for at, _ in numbers(part, schema.get("$defs", {}), field))
    ],
)
def test_a_number_beyond_them_is_refused_by_name(kind: type[Params], field: str, huge: str):
    with pytest.raises(InputError) as refused:
        kind.read(json.loads(f'{{"{field}": {huge}}}'))
    message = str(refused.value)
    assert message.startswith("params.")
    assert field in message
    assert "Input should be" in message or "Unable to parse" in message


@pytest.mark.parametrize("number", ["1" * 5000, "[" * 100_000], ids=["digits", "brackets"])
def test_json_that_python_cannot_hold_is_refused(number):
    from monailabel_app.api.infer import parse_params

    with pytest.raises(InputError, match="params: not JSON"):
        parse_params(f'{{"seed": {number}}}')
