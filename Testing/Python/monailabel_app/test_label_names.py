"""Names and ids of labels of several models."""

from __future__ import annotations

from monailabel_app.app.label_names import ids_by_name, one_name_each
from uncertaintyseg.wire import Label


def labels(*named: tuple[int, str]) -> list[Label]:
    return [Label(id=key, name=name, rgb=(1, 2, 3)) for key, name in named]


def test_an_id_that_means_two_things_has_no_name():
    found = one_name_each(labels((2, "b"), (1, "a"), (1, "other"), (2, "b")))
    assert {label.id: label.name for label in found} == {1: "class 1", 2: "b"}
    assert one_name_each([]) == []


def test_a_name_of_two_ids_is_none_of_a_single_one_and_an_id_may_have_several_names():
    found = ids_by_name(labels((1, "liver"), (5, "liver"), (2, "spleen"), (2, "milt"), (2, "spleen")))
    assert found == {"class 1": 1, "class 5": 5, "milt": 2, "spleen": 2}
