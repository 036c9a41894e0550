"""What is put together of all cases, against numpy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from Testing.Python.uncertaintyseg.planning import small_cases
from uncertaintyseg.data.layouts import find_real_data
from uncertaintyseg.errors import InputError
from uncertaintyseg.planning.fingerprint import take_fingerprint


def test_intensities_count_every_case_alike(tmp_path):
    """A mixture with equal weights: nnU-Net draws as many voxels of each case."""

    def change(number, parts):
        parts[0][0] *= 1 + number
        if number == 0:
            parts[1][2:, 2:] = 1  # nine tenths of the foreground of both, were voxels counted

    dataset = small_cases.make(tmp_path, 2, change=change)
    (found,) = take_fingerprint(dataset, cache=None, workers=0).channels
    inside = []
    for number in range(2):
        parts = [[small_cases.scan(number)], small_cases.label(), None]
        parts[1][0, 0, 0], parts[1][1, 0, number] = number, 1
        change(number, parts)
        inside.append(parts[0][0][parts[1] > 0].astype(np.float64))
    weights = np.concatenate([np.full(values.size, 0.5 / values.size) for values in inside])
    values = np.concatenate(inside)
    mean = weights @ values
    assert found.mean == pytest.approx(mean, rel=1e-9)
    assert found.std == pytest.approx(np.sqrt(weights @ (values - mean) ** 2), rel=1e-9)
    assert (found.minimum, found.maximum) == (values.min(), values.max())
    order = np.argsort(values)
    ranks = np.cumsum(weights[order])
    for share, quantile in ((0.005, found.low), (0.5, found.median), (0.995, found.high)):
        place = np.searchsorted(values[order], [quantile - 1e-3, quantile + 1e-3])
        assert ranks[max(0, place[0] - 2)] - 1e-3 <= share <= ranks[min(place[1] + 1, values.size - 1)] + 1e-3


def test_structures_spacings_and_shapes_are_the_cases_own(tmp_path):
    def change(number, parts):
        parts[2][2, 2] = (3.0, 3.0, 5.0)[number]
        if number == 2:
            parts[1][parts[1] == 2] = 0
            parts[0][0][:2] = 0

    dataset = small_cases.make(tmp_path, 3, change=change)
    found = take_fingerprint(dataset, cache=None, workers=0)
    drawn = [small_cases.label() for _ in range(3)]
    for number, label in enumerate(drawn):
        label[0, 0, 0], label[1, 0, number] = number % 3, 1
    drawn[2][drawn[2] == 2] = 0
    first, second = found.structures
    assert (first.present, second.present) == (3, 2)
    assert second.voxels == sum(int((label == 2).sum()) for label in drawn)
    assert first.volume == np.median([(label == 1).sum() * 2.0 * z for label, z in zip(drawn, (3, 3, 5), strict=True)])
    assert found.spacing == (1.0, 2.0, 3.0)
    assert found.spacings.tolist() == [[1, 2, 3], [1, 2, 3], [1, 2, 5]]
    assert found.shapes.tolist() == [[12, 10, 8], [12, 10, 8], [10, 10, 8]]


def test_without_the_bad_cases_the_rest_is_as_if_they_had_never_been(tmp_path):
    def spoil(number, parts):
        parts[0][0] *= 1 + number
        if number == 1:
            parts[0][0][3, 3, 3] = np.nan

    dataset = small_cases.make(tmp_path, 5, change=spoil)
    dataset.cases[3].label.write_bytes(b"damaged")
    found = take_fingerprint(dataset, cache=None, workers=0)
    assert [problem.kind for problem in found.errors] == ["nonfinite", "unreadable"]
    assert found.bad == ["case_1", "case_3"]
    rest = found.without(found.bad)
    good = replace(dataset, cases=[case for case in dataset.cases if case.id not in found.bad])
    alone = take_fingerprint(good, cache=None, workers=0)
    assert rest.dataset == dataset
    assert [case.id for case in rest.cases] == ["case_0", "case_2", "case_4"]
    assert rest.channels == alone.channels
    assert rest.structures == alone.structures
    assert rest.problems == alone.problems
    assert rest.errors == []


def test_messages_name_files_from_the_folder_on(tmp_path):
    dataset = small_cases.make(tmp_path, 3)
    dataset.cases[1].label.write_bytes(b"damaged")
    (problem,) = take_fingerprint(dataset, cache=None, workers=0).errors
    assert problem.text.startswith("labelsTr/case_1.nii.gz: ")
    assert str(tmp_path) not in problem.text


def test_a_data_set_without_a_usable_case_says_why(tmp_path):
    dataset = small_cases.make(tmp_path, 2)
    for case in dataset.cases:
        case.image.write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"no case of it could be measured.*case_0: imagesTr.case_0_0000.nii.gz"):
        take_fingerprint(dataset, cache=None, workers=0)
    bare = replace(dataset, cases=[replace(case, label=None) for case in dataset.cases])
    with pytest.raises(InputError, match="none of its 2 cases has a label"):
        take_fingerprint(bare, cache=None, workers=0)


def test_progress_says_how_many_cases_are_done(tmp_path):
    steps = []
    dataset = small_cases.make(tmp_path, 3)
    take_fingerprint(dataset, cache=None, workers=0, progress=lambda text, share: steps.append((text, share)))
    assert steps == [(f"measured {n} of 3 cases", n / 3) for n in (1, 2, 3)]


@pytest.mark.skipif(find_real_data("msd_hippocampus") is None, reason="no real scans beside the checkout")
def test_the_hippocampi_are_as_their_source_says():
    """Medians of 1725 and 1578 voxels in 35 x 50 x 36 at 1 mm; the source counts the 200 of 260 that are here."""
    from uncertaintyseg.data.dataset import read_dataset

    found = take_fingerprint(read_dataset(find_real_data("msd_hippocampus")), cache=None, workers=0)
    assert [structure.present for structure in found.structures] == [200, 200]
    assert [structure.volume for structure in found.structures] == pytest.approx([1725, 1578], abs=5)
    assert np.median(found.shapes, axis=0) == pytest.approx([35, 50, 36], abs=1)  # without margins of 0
    assert found.spacing == (1.0, 1.0, 1.0)
