"""What is wrong with a data set is told by case, and what is right is not."""

from __future__ import annotations

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from Testing.Python.uncertaintyseg.planning import small_cases
from uncertaintyseg.data.dataset import Structure
from uncertaintyseg.data.layouts import Case, find_real_data
from uncertaintyseg.planning.comparing import compare
from uncertaintyseg.planning.facts import CaseFacts, Intensities
from uncertaintyseg.planning.fingerprint import take_fingerprint

hippocampus = find_real_data("msd_hippocampus")


def problems(dataset):
    return take_fingerprint(dataset, cache=None, workers=0).problems


def told(dataset):
    return [(problem.case_id, problem.kind, problem.severity) for problem in problems(dataset)]


def test_alike_cases_have_no_problems(tmp_path):
    assert told(small_cases.make(tmp_path)) == []
    assert told(small_cases.make(tmp_path, channels=("T1", "T2"))) == []


def test_values_outside_the_list_are_told_with_their_number_and_the_way_out(tmp_path):
    (problem,) = problems(small_cases.make(tmp_path, change=lambda n, parts: _draw(parts, 7) if n == 3 else None))
    assert (problem.case_id, problem.kind, problem.severity) == ("case_3", "values", "error")
    assert "7 (4 voxels); known are 0, 1, 2." in problem.text
    assert "--labels" in problem.text


def _draw(parts, value):
    parts[1][:2, 4, :2] = value


def test_a_scan_that_occurs_twice_is_an_error_of_the_second(tmp_path):
    def same(number, parts):
        if number == 4:
            parts[0][0][:] = small_cases.scan(1)

    (problem,) = problems(small_cases.make(tmp_path, change=same))
    assert (problem.case_id, problem.kind, problem.severity) == ("case_4", "duplicate", "error")
    assert "case_1" in problem.text
    assert "another label" in problem.text


def test_a_copy_is_found_though_it_is_stored_otherwise(tmp_path):
    dataset = small_cases.make(tmp_path)
    turn = np.array([[2, 1], [0, -1], [1, -1]])
    volumes = [
        nib.orientations.apply_orientation(v, turn) for v in (small_cases.scan(0), np.asarray(small_cases.label()))
    ]
    place = np.diag([*small_cases.SPACING, 1.0]) @ nib.orientations.inv_ornt_aff(turn, small_cases.SHAPE)
    small_cases.write_case(tmp_path, "copy", volumes[0], volumes[1], place)
    cases = [
        *dataset.cases,
        Case("copy", tmp_path / "imagesTr" / "copy_0000.nii.gz", tmp_path / "labelsTr" / "copy.nii.gz"),
    ]
    found = told(replace(dataset, cases=cases))
    assert ("copy", "duplicate", "error") in found
    assert ("copy", "orientation", "warning") in found
    assert {case for case, _, _ in found} == {"copy"}


def test_a_label_that_occurs_twice_on_two_scans_is_looked_at(tmp_path):
    def same(number, parts):
        if number in {2, 5}:
            parts[1][:] = small_cases.label()

    (problem,) = problems(small_cases.make(tmp_path, change=same))
    assert (problem.case_id, problem.kind, problem.severity) == ("case_5", "duplicate", "warning")
    assert "case_2" in problem.text


def test_another_orientation_is_told_of_the_few_and_no_one_is_right_among_halves(tmp_path):
    def flip(which):
        return lambda number, parts: parts[2].__setitem__((0, 0), -1.0) if number in which else None

    assert told(small_cases.make(tmp_path / "one", change=flip({2}))) == [("case_2", "orientation", "warning")]
    assert told(small_cases.make(tmp_path / "half", change=flip({0, 1, 2}))) == []


def test_an_empty_label_is_looked_at(tmp_path):
    def rubbed_out(number, parts):
        if number == 1:
            parts[1][:] = 0

    assert told(small_cases.make(tmp_path, change=rubbed_out)) == [("case_1", "empty", "warning")]


def test_a_structure_of_no_case_is_an_error_and_one_of_few_is_told(tmp_path):
    def without(number, parts):
        parts[1][parts[1] == 2] = 2 if number < 2 else 1
        parts[1][0, 0, 0] = 0

    dataset = small_cases.make(tmp_path, change=without)
    dataset = replace(dataset, labels=[*dataset.labels, Structure(3, "cyst", (0, 0, 255))])
    absent = [problem for problem in problems(dataset) if problem.kind == "absent"]
    assert [(problem.case_id, problem.severity) for problem in absent] == [(None, "error"), (None, "warning")]
    assert "cyst" in absent[0].text
    assert "--structures" in absent[0].text
    assert "lesion (2 of 6)" in absent[1].text


def test_one_case_is_too_few(tmp_path):
    assert ("cases", "error") in [
        (problem.kind, problem.severity) for problem in problems(small_cases.make(tmp_path, 1))
    ]


def test_scans_without_a_label_are_told(tmp_path):
    dataset = small_cases.make(tmp_path)
    cases = [replace(case, label=None) if case.id in {"case_0", "case_2"} else case for case in dataset.cases]
    (problem,) = problems(replace(dataset, cases=cases))
    assert (problem.case_id, problem.kind, problem.severity) == (None, "unlabelled", "warning")
    assert "2 of 6" in problem.text
    assert "case_0, case_2" in problem.text


@pytest.mark.parametrize(("axis", "factor"), [(0, 4.0), (2, 0.2)])
def test_a_spacing_far_from_the_others_is_told(tmp_path, axis, factor):
    def stretch(number, parts):
        if number == 4:
            parts[2][axis, axis] *= factor

    found = told(small_cases.make(tmp_path, change=stretch))
    assert ("case_4", "spacing", "warning") in found
    assert {case for case, _, _ in found} == {"case_4"}


def test_a_structure_of_a_crumb_is_told(tmp_path):
    def crumb(number, parts):
        if number == 3:
            parts[1][parts[1] == 1] = 0
            parts[1][0, 0, 0] = 1

    (problem,) = problems(small_cases.make(tmp_path, 7, change=crumb))
    assert (problem.case_id, problem.kind, problem.severity) == ("case_3", "volume", "warning")


@pytest.mark.parametrize("factor", [30.0, 0.05])
def test_intensities_in_another_unit_are_a_warning_where_each_scan_is_scaled_by_itself(tmp_path, factor):
    def scale(number, parts):
        if number == 2:
            parts[0][0] *= factor

    (problem,) = problems(small_cases.make(tmp_path, change=scale))
    assert (problem.case_id, problem.kind, problem.severity) == ("case_2", "intensity", "warning")
    assert "harmless" in problem.text


def ct(parts):
    parts[0][0][:] = parts[0][0] * 2 - 160  # soft tissue of 40 +- 20 HU, in air
    parts[0][0][:, :2] = -1000


def test_stored_values_instead_of_hounsfield_units_are_an_error_in_ct(tmp_path):
    def stored(number, parts):
        ct(parts)
        if number == 5:
            parts[0][0] += 1024

    dataset = replace(small_cases.make(tmp_path, change=stored), modality="CT")
    (problem,) = problems(dataset)
    assert (problem.case_id, problem.kind, problem.severity) == ("case_5", "intensity", "error")
    assert "RescaleIntercept" in problem.text


def test_stored_values_in_all_ct_are_told_of_the_data_set(tmp_path):
    def stored(_, parts):
        ct(parts)
        parts[0][0] += 1024

    dataset = replace(small_cases.make(tmp_path, change=stored), modality="CT")
    (problem,) = problems(dataset)
    assert (problem.case_id, problem.kind, problem.severity) == (None, "intensity", "warning")
    assert told(replace(small_cases.make(tmp_path / "hu", change=lambda _, parts: ct(parts)), modality="CT")) == []


def facts(case_id, looks):
    """A case of which each channel has these contrasts of structures 1, 2, ...; each has a unit of its own."""
    unit = 1 + 50 * np.random.default_rng(len(case_id)).random(len(looks))
    channels = [
        Intensities(
            factor, factor, 0.0, 2 * factor, np.linspace(0, 2 * factor, 100, dtype=np.float32), factor, factor, 0.0,
            9 * factor, dict(enumerate(look, 1)),
        )
        for factor, look in zip(unit, looks, strict=True)
    ]  # fmt: skip
    return CaseFacts(
        case_id, (9, 9, 9), (1.0, 1.0, 1.0), (9, 9, 9), "RAS", channels, {1: 50, 2: 50}, 0.0, {}, 0, case_id, case_id
    )


@given(noise=st.floats(0, 0.3), swap=st.permutations(range(3)), seed=st.integers(0, 99))
def test_swapped_channels_are_found_whatever_their_units(noise, swap, seed):
    rng = np.random.default_rng(seed)
    usual = np.array([[1.0, -2.0], [-1.5, 0.5], [3.0, 2.5]])
    looks = [usual + noise * rng.uniform(-1, 1, usual.shape) for _ in range(8)]
    looks[3] = looks[3][list(swap)]
    dataset = _described(["T1", "T2", "FLAIR"], [facts(f"case_{n}", look) for n, look in enumerate(looks)])
    found = [p for p in compare(*dataset) if p.kind == "channels"]
    assert [(p.case_id, p.severity) for p in found] == ([] if swap == [0, 1, 2] else [("case_3", "warning")])
    if found:
        assert ", ".join(["T1", "T2", "FLAIR"][at] for at in swap) in found[0].text


def _described(channels, cases):
    from pathlib import Path

    from uncertaintyseg.data.dataset import DataSet

    labels = [Structure(1, "one", (1, 2, 3)), Structure(2, "two", (4, 5, 6))]
    return DataSet(Path("data"), "nnunet", [], labels, {}, channels, "MR", None, {}), cases


@pytest.mark.skipif(hippocampus is None, reason="no real scans beside the checkout")
def test_the_70_hippocampi_in_another_unit_are_found_and_nothing_else():
    """43 scans are of 8 bits, 27 of values above 100,000; the other 130 agree within a factor of 2."""
    from uncertaintyseg.data.dataset import read_dataset

    dataset = read_dataset(hippocampus)
    expected = []
    for case in dataset.cases:
        image = nib.load(case.image)
        median = np.median(np.asarray(image.dataobj)[np.asarray(nib.load(case.label).dataobj) > 0])
        if image.get_data_dtype() == np.uint8 or median > 1e5:
            expected.append((case.id, "intensity", "warning"))
    assert len(expected) == 70
    assert told(dataset) == expected


def test_labels_that_belong_to_no_scan_are_told(tmp_path):
    dataset = small_cases.make(tmp_path)
    (tmp_path / "labelsTr" / "case_9.nii.gz").write_bytes((tmp_path / "labelsTr" / "case_0.nii.gz").read_bytes())
    (problem,) = problems(dataset)
    assert (problem.kind, problem.severity) == ("unlabelled", "warning")
    assert "1 labels belong to no scan: case_9.nii.gz" in problem.text
