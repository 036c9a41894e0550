"""What the structure table, the report and its CSV say of the shapes of structures."""

from __future__ import annotations

import copy

import pytest

from Testing.Python.SlicerUncertaintySeg import wire_answers

LABELS = [{"id": 1, "name": "organ", "rgb": [1, 2, 3]}, {"id": 2, "name": "lesion", "rgb": [3, 2, 1]}]


@pytest.fixture
def answer(host):
    return copy.deepcopy(wire_answers.result("ab" * 32, LABELS, []))


def parsed(answer):
    from UncertaintySegLib.server.results import parse_result

    return parse_result(answer).structures


def test_shapes_have_a_table_of_their_own_and_structures_without_one_no_row(answer):
    from UncertaintySegLib.logic import structures

    headings, rows = structures.shapes(parsed(answer))
    assert headings[:4] == ["Structure", "Pieces", "Surface, mm²", "Eccentricity"]
    place = ["12.3, -5.6, 7.0", "1.5, -20.0, 0.0", "25.5, 10.0, 15.0"]
    assert rows == [["organ", "2", "3210.5", "0.812", "1.43", *place]]
    organ, lesion = parsed(answer)
    assert "Eccentricity: 0.812" in structures.tooltip(organ)
    assert "Eccentricity" not in structures.tooltip(lesion)


def test_one_slice_has_areas(answer):
    from UncertaintySegLib.logic import structures

    answer["risk"]["structures"][0]["shape"] |= {"area_mm2": 120.0, "surface_mm2": None, "elongation": None}
    headings, rows = structures.shapes(parsed(answer))
    assert headings[2] == "Area, mm²"
    assert rows[0][2:5] == ["120.0", "0.812", ""]


def test_a_server_of_old_tells_no_shapes(answer):
    from UncertaintySegLib.logic import structures

    del answer["risk"]["structures"][0]["shape"]
    assert structures.shapes(parsed(answer))[1] == []


ELLIPSE = {
    "circumference": 281.44, "circumference_95": [276.02, 288.97], "long_axis": 98.1, "short_axis": 80.2,
    "angle_degrees": 12.0, "unit": "mm",
}  # fmt: skip


def test_the_circumference_of_an_image_has_its_interval_and_its_unit(answer):
    from UncertaintySegLib.logic import structures

    organ, lesion = answer["risk"]["structures"]
    organ["ellipse"] = dict(ELLIPSE)
    lesion["ellipse"] = ELLIPSE | {"circumference_95": None}
    headings, rows = structures.shapes(parsed(answer))
    assert headings[-1] == "Circumference, mm [95 %]"
    by_name = {row[0]: row for row in rows}
    assert by_name["organ"][-1] == "281.4 [276.0, 289.0]"
    assert by_name["lesion"] == ["lesion", *[""] * 7, "281.4"]
    assert "Circumference, mm [95 %]: 281.4 [276.0, 289.0]" in structures.tooltip(parsed(answer)[0])


def test_pixels_are_called_pixels(answer):
    from UncertaintySegLib.logic import structures

    answer["risk"]["structures"][0] |= {"ellipse": ELLIPSE | {"unit": "px"}, "shape": None}
    headings, rows = structures.shapes(parsed(answer))
    assert headings[-1] == "Circumference, px [95 %]"
    assert len(rows[0]) == len(headings)


def test_expected_anomalies_have_a_column_where_they_are_known(answer):
    from UncertaintySegLib.logic import structures

    assert "Expected anomaly" not in structures.table(parsed(answer))[0]
    answer["risk"]["structures"][0]["expected_anomaly"] = 0.1234
    headings, rows = structures.table(parsed(answer))
    place = headings.index("Expected anomaly")
    assert {row[0]: row[place] for row in rows} == {"organ": "0.123", "lesion": ""}
    assert "Expected anomaly: 0.123" in structures.tooltip(parsed(answer)[0])
