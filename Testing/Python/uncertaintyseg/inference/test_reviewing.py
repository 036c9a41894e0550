"""A label beside a prediction of the same scan: what was decided is certain, the rest as doubtful as before."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from uncertaintyseg.data.geometry import voxel_volume_ml
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.predictor import Predictor
from uncertaintyseg.inference.reviewing import MAPS, reviewed
from uncertaintyseg.review.anomaly import anomaly_score
from uncertaintyseg.review.structures import POSSIBLE


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    from Testing.Python.uncertaintyseg import tiny

    return Predictor(tiny.give_random_weights(tiny.write_bundle(tmp_path_factory.mktemp("models"), "low_rank", 5)))


@pytest.fixture
def base(predictor, scan):
    return predictor.predict(scan, samples=4)


@pytest.fixture
def labels(predictor):
    return predictor.bundle.labels


@pytest.fixture
def edited(base):
    return ndimage.grey_dilation(base.label, 3)


def test_the_models_own_label_is_as_doubtful_as_it_was(base, labels):
    same = reviewed(base, labels, base.label, edited=True)
    assert np.array_equal(same.maps["error_probability"], base.maps["error_probability"])
    assert same.regions == base.regions
    for row, before in zip(same.structures, base.structures, strict=True):
        assert (row.expected_error_ml, row.expected_dice) == (before.expected_error_ml, before.expected_dice)
        assert row.anomaly_score in (0, None)


def test_what_was_edited_is_right(base, labels, edited):
    after = reviewed(base, labels, edited, edited=True)
    same = edited == base.label
    error = after.maps["error_probability"]
    assert not error[~same].any()
    assert np.array_equal(error[same], base.maps["error_probability"][same])
    left = error[error >= POSSIBLE].sum() * voxel_volume_ml(base.affine)
    assert after.remaining_error_ml == pytest.approx(left, rel=1e-4)
    for row in after.structures:
        score = anomaly_score(base.label == row.id, edited == row.id)
        assert row.anomaly_score == (None if np.isnan(score) else pytest.approx(score, abs=1e-4))


@pytest.fixture
def sure(predictor, scan):
    """A prediction of two cubes, 80 voxels each, whose structures the model is nearly sure of: p of 0.9."""
    made = predictor.predict(scan, samples=2)
    label = np.zeros(made.label.shape, np.uint8)
    label[4:8, 4:8, 2:7], label[12:16, 4:8, 2:7] = 1, 2
    p = {item.id: np.where(label == item.id, np.float32(0.9), np.float32(0)) for item in predictor.bundle.labels}
    maps = {f"probability_{item.name}": p[item.id] for item in predictor.bundle.labels}
    maps["error_probability"] = np.where(label > 0, np.float32(0.1), np.float32(0))
    object.__setattr__(made, "label", label)
    object.__setattr__(made, "maps", maps)
    return made


def without(prediction, label_id: int, kept: int = 0) -> np.ndarray:
    """Its label after a structure was taken away but for some voxels."""
    label = prediction.label.copy()
    places = np.flatnonzero(label == label_id)[kept:]
    label.ravel()[places] = 0
    return label


def test_a_structure_that_was_removed_is_expected_to_be_missing(sure, labels):
    voxel = voxel_volume_ml(sure.affine)
    before, after = (reviewed(sure, labels, label, edited=True) for label in (sure.label, without(sure, 2)))
    assert before.remaining_error_ml == pytest.approx(160 * 0.1 * voxel, rel=1e-3)
    assert after.remaining_error_ml == pytest.approx((80 * 0.1 + 80 * 0.9) * voxel, rel=1e-3)
    rows = [{row.id: row for row in found.structures} for found in (before, after)]
    assert rows[1][2].flag == "not found"
    assert rows[1][2].expected_error_ml == pytest.approx(80 * 0.9 * voxel, rel=1e-3)
    assert rows[1][1].expected_error_ml == pytest.approx(rows[0][1].expected_error_ml)
    assert (after.regions[0].kind, after.regions[0].volume_ml) == ("missed", pytest.approx(80 * voxel, rel=1e-3))


@pytest.mark.parametrize(("kept", "left"), [(7, 7 * 0.1 + 73 * 0.9), (8, 8 * 0.1), (40, 40 * 0.1)])
def test_what_is_left_says_whether_it_was_removed_or_corrected(sure, labels, kept, left):
    after = reviewed(sure, labels, without(sure, 2, kept), edited=True)
    assert after.remaining_error_ml == pytest.approx((80 * 0.1 + left) * voxel_volume_ml(sure.affine), rel=1e-3)


def test_a_structure_drawn_anew_elsewhere_or_found_right_is_not_missing(sure, labels):
    elsewhere = without(sure, 2)
    elsewhere[12:16, 10:14, 2:7] = 2
    box = ((12, 4, 2), (15, 7, 6))
    for label, accepted in ((elsewhere, []), (without(sure, 2), [box])):
        after = reviewed(sure, labels, label, edited=True, accepted=accepted)
        assert after.remaining_error_ml == pytest.approx(80 * 0.1 * voxel_volume_ml(sure.affine), rel=1e-3)


def test_the_error_of_a_removed_structure_is_never_less_than_before(sure, labels):
    sure.maps["error_probability"][sure.label == 2] = 0.95  # as a calibration may say
    after = reviewed(sure, labels, without(sure, 2), edited=True)
    np.testing.assert_allclose(after.maps["error_probability"][sure.label == 2], 0.95)


def test_somebody_elses_label_is_doubted_where_the_model_says_so(base, labels, edited):
    after = reviewed(base, labels, edited, edited=False)
    p = np.stack([base.maps[f"probability_{item.name}"] for item in labels])
    p = np.concatenate([1 - p.sum(0, keepdims=True), p])
    of_label, own = (np.take_along_axis(p, x[None].astype(int), 0)[0] for x in (edited, base.label))
    assert np.allclose(after.maps["error_probability"], 1 - of_label, atol=1e-5)
    assert np.allclose(after.maps["anomaly"], own - of_label, atol=1e-5)


def test_accepted_boxes_are_right_in_either_case(base, labels, edited):
    box = ((4, 4, 2), (20, 25, 9))
    inside = np.zeros(edited.shape, bool)
    inside[4:21, 4:26, 2:10] = True
    for by_a_person in (True, False):
        before = reviewed(base, labels, edited, edited=by_a_person).maps["error_probability"]
        after = reviewed(base, labels, edited, edited=by_a_person, accepted=[box]).maps["error_probability"]
        assert before[inside].any()
        assert not after[inside].any()
        assert np.array_equal(after[~inside], before[~inside])


def test_nothing_is_said_where_the_model_did_not_see_the_scan(base, labels):
    valid = np.ones(base.label.shape, np.float32)
    valid[:, :, :6] = 0
    for name, values in base.maps.items():
        base.maps[name] = values * valid if name != "valid" else valid
    base.maps["valid"], label = valid, base.label * (valid > 0).astype(np.uint8)
    object.__setattr__(base, "label", label)
    given = label.copy()
    given[:, :, :6] = 1
    for by_a_person in (True, False):
        after = reviewed(base, labels, given, edited=by_a_person)
        assert not any(after.maps[name][:, :, :6].any() for name in MAPS)


def test_no_promise_holds_and_the_maps_say_what_they_show(base, labels, edited):
    for by_a_person, why in ((True, "a person has edited the label"), (False, "the label was there before")):
        after = reviewed(base, labels, edited, edited=by_a_person)
        assert after.guarantee is None
        assert after.guarantee_reason == f"{why}, and a promise is of the model's own"
        assert {name: after.map_info[name].description for name in MAPS} == MAPS
        assert after.map_info.keys() > base.map_info.keys()


def test_a_box_outside_of_the_scan_is_named(base, labels):
    with pytest.raises(InputError, match=r"accepted\[1\]"):
        reviewed(base, labels, base.label, edited=True, accepted=[((0, 0, 0),) * 2, ((0, 0, 0), (0, 0, 99))])


def test_what_was_made_for_some_structures_only_reviews_no_label_of_all(predictor, labels, scan):
    some = predictor.predict(scan, samples=2, structures=[labels[0].name])
    with pytest.raises(InputError, match=f"no map of {labels[1].name}"):
        reviewed(some, labels, some.label, edited=True)


def test_a_stored_prediction_is_reviewed_by_the_parts_that_are_touched(base, labels, edited, tmp_path):
    from monailabel_app.jobs.results import ResultStore

    store = ResultStore(tmp_path)
    store.put("0" * 64, base, labels)
    stored, _ = store.prediction("0" * 64)
    fresh, again = (reviewed(of, labels, edited, edited=False) for of in (base, stored))
    for row, wanted in zip(again.structures, fresh.structures, strict=True):
        assert row.expected_dice == pytest.approx(wanted.expected_dice, abs=1e-3)
        assert row.expected_error_ml == pytest.approx(wanted.expected_error_ml, rel=1e-3, abs=1e-4)
        assert row.anomaly_score == wanted.anomaly_score
    for name, values in again.maps.items():
        np.testing.assert_allclose(values, fresh.maps[name], atol=1e-4)
