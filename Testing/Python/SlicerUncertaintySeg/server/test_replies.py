from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from Testing.Python.SlicerUncertaintySeg import wire_answers
from UncertaintySegLib.errors import ServerError
from UncertaintySegLib.server import label_replies, replies, results
from UncertaintySegLib.server.parsing import parse

LABELS = [{"id": 1, "name": "organ", "rgb": [90, 200, 110]}, {"id": 2, "name": "lesion", "rgb": None}]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
PARSERS = [
    replies.parse_info, replies.parse_sample, replies.parse_case, results.parse_result, results.parse_promise,
    label_replies.parse_final, label_replies.parse_versions, label_replies.parse_comparison,
    label_replies.parse_readings,
]  # fmt: skip


def a_result() -> dict:
    return wire_answers.result("k3y", LABELS, [])


def is_read_or_refused(parser, data) -> bool:
    """Whether it is read, or refused in a sentence: any other error is one of ours."""
    try:
        parser(data)
    except ServerError as error:
        return str(error).startswith("The server") and str(error)[-1] in ".?"
    return True


def test_a_newer_server_may_say_more():
    data = a_result()
    data["risk"]["structures"][0]["surface_mm2"] = 3.0
    data["risk"]["forecast"] = "rain"
    assert results.parse_result(data).structures[0].name == "organ"


def test_an_older_server_may_say_less():
    data = a_result()
    for name in ("regions", "remaining_error_ml", "risk_coverage", "guarantee", "guarantee_reason"):
        del data["risk"][name]
    del data["risk"]["structures"][0]["expected_dice"]
    result = results.parse_result(data)
    assert (result.regions, result.remaining_error_ml, result.structures[0].expected_dice) == ((), None, None)


def test_null_is_the_default_of_what_is_optional():
    row = replies.parse_case({"id": "a", "status": "unlabelled", "score": None, "lease": None, "labels": None})
    assert (row.lease, row.labels, row.reason) == (None, (), "")


def test_lists_within_lists_become_tuples():
    region = {"rank": 1, "structure": "organ", "ras_mm": [1, 2, 3], "ijk": [1, 2, 3], "volume_ml": 1}
    box = {"bounding_box": [[0, 0, 0], [4, 4, 4]], "expected_error_ml": 0.5}
    assert parse(results.Region, region | box).bounding_box == ((0, 0, 0), (4, 4, 4))


def test_labels_may_be_a_list_of_names_as_in_older_servers():
    labels = replies.parse_labels(["organ", "lesion"])
    assert [(label.id, label.name, label.rgb) for label in labels] == [(1, "organ", None), (2, "lesion", None)]


def test_a_stock_server_has_models_without_heads():
    info = replies.parse_info({"models": {"deepedit": {"labels": {"background": 0, "spleen": 1}}}})
    model = info.models["deepedit"]
    assert (model.head, model.maps, [label.name for label in model.labels]) == (None, (), ["spleen"])
    assert info.strategies == {}


def test_devices_that_a_server_leaves_alone_are_known():
    devices = [{"device": "cuda:0", "done": 3, "set_aside": None}, {"device": "cuda:1", "done": 1, "set_aside": "CUDA"}]
    assert replies.parse_info({"devices": devices}).failing == ("cuda:1",)
    assert replies.parse_info({}).failing == ()


def test_how_far_a_head_moves_the_label_is_said_by_servers_that_know_it():
    entry = {"labels": {"spleen": 1}, "head": "laplace", "label_shift": {"base": "total", "voxels": 3, "foreground": 9}}
    models = {"heads": entry, "plain": {**entry, "label_shift": None}, "older": {"labels": {"spleen": 1}}}
    found = replies.parse_info({"models": models}).models
    assert found["heads"].label_shift == replies.LabelShift("total", 3, 9)
    assert found["plain"].label_shift is None
    assert found["older"].label_shift is None


def test_what_a_result_leaves_out_has_a_reason():
    data = a_result()
    assert results.parse_result(data).omitted == {}
    data["risk"]["omitted"] = {"variance_<structure>": "too many"}
    assert results.parse_result(data).omitted == {"variance_<structure>": "too many"}


@pytest.mark.parametrize("lacking", ["risk", "label", "label_names"])
def test_what_is_missing_is_named(lacking):
    data = a_result()
    del data[lacking]
    with pytest.raises(ServerError, match=f"lacks '{lacking}'"):
        results.parse_result(data)


@given(JSON)
def test_whatever_comes_is_read_or_refused_in_a_sentence(data):
    assert all(is_read_or_refused(parser, data) for parser in PARSERS)


@example("result", "")
@given(st.sampled_from(sorted(a_result()["risk"])), JSON)
def test_a_result_with_one_strange_field_is_read_or_refused_in_a_sentence(name, value):
    data = a_result()
    data["risk"][name] = value
    assert is_read_or_refused(results.parse_result, data)


@pytest.mark.parametrize(("said", "driver"), [(None, ""), ("error_probability", ""), ("ranking", "ranking")])
def test_the_map_that_drives_is_known_where_it_is_not_the_error_probability_itself(said, driver):
    answer = wire_answers.result("k3y", LABELS, [], ("error_probability", "predictive_entropy"))
    answer["risk"]["driven_by"] = said
    found = results.parse_result(answer)
    assert found.driven_by == driver
    assert {name: info.driven_by for name, info in found.maps.items()} == {
        "error_probability": driver, "predictive_entropy": "",
    }  # fmt: skip
