"""Volume intervals and the whole shapes that they are drawn from: what they are, and why there are none."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.predictor import Predictor


@pytest.mark.parametrize("head", ["deterministic", "mixture_of_bases"])
def test_a_head_without_whole_shapes_gives_no_volume_interval_and_says_why(tiny_bundle, scan, head):
    prediction = Predictor(tiny_bundle(head, 3)).predict(scan)
    for row in prediction.structures:
        assert row.volume_ml_95 is None
        assert f"none: the {head} head draws no whole shapes" in row.interval_method
    assert prediction.state is None
    assert prediction.provenance.samples is None


@pytest.mark.parametrize(
    ("head", "options"),
    [("low_rank", {}), ("mixture_of_bases", {"noise": "volume"}), ("mixture_of_bases", {"noise": "cube"})],
)
def test_whole_shapes_give_an_ordered_volume_interval(tiny_bundle, scan, head, options):
    prediction = Predictor(tiny_bundle(head, 3, **options)).predict(scan)
    for row in prediction.structures:
        low, high = row.volume_ml_95
        assert 0 <= low < high
        assert "79 whole segmentations" in row.interval_method
        assert (row.interval_coverage, row.dice_method) == (0.95, "mean over 79 drawn shapes")
    assert prediction.state is not None
    assert prediction.provenance.samples == 79


def test_with_fewer_draws_than_an_interval_needs_there_is_none_and_what_they_reach_is_said(tiny_bundle, scan):
    prediction = Predictor(tiny_bundle("low_rank", 3)).predict(scan, samples=16)
    for row in prediction.structures:
        assert row.volume_ml_95 is None
        assert row.interval_coverage == pytest.approx(15 / 17, abs=1e-4)
        assert row.interval_method.startswith("none: 16 whole segmentations")
        assert row.dice_method == "mean over 16 drawn shapes"
    assert "volume_interval" not in prediction.case_scores


def test_a_large_region_is_drawn_less_often_and_says_so(tiny_bundle, scan, monkeypatch):
    monkeypatch.setattr("uncertaintyseg.inference.spread._DRAWN", 1)
    prediction = Predictor(tiny_bundle("low_rank", 3)).predict(scan, samples=60)
    assert prediction.provenance.samples == 39
    assert {row.interval_method.split(" of ")[1][:2] for row in prediction.structures} == {"39"}


def test_without_any_possible_foreground_there_is_no_interval(tmp_path):
    bundle = tiny.write_threshold_bundle(tmp_path / "models", "low_rank", rank=1)
    tiny.write_blob(tmp_path / "blob.nii.gz", np.diag([3.0, 3.0, 6.0, 1.0]), (28, 26, 16))
    dark = nib.load(tmp_path / "blob.nii.gz")
    values = np.asarray(dark.dataobj)
    write_volume(tmp_path / "dark.nii.gz", np.minimum(values, -150) - 50 * (values < -159), dark.affine)
    prediction = Predictor(bundle).predict(tmp_path / "dark.nii.gz")
    (row,) = prediction.structures
    assert row.volume_ml == 0
    assert row.volume_ml_95 is None
    assert row.interval_method == "none: no voxel is possibly foreground"
    assert (row.mean_risk, row.flag) == (None, "not found")


def test_the_interval_is_that_of_the_labels_drawn_from_the_state(tiny_bundle, scan):
    predictor = Predictor(tiny_bundle("low_rank", 3, spacing=(3.0, 3.0, 6.0)))
    prediction = predictor.predict(scan, seed=5, samples=40)
    draws = prediction.state.labels(predictor.network.head, 40, torch.Generator().manual_seed(5))
    volumes = [(draw == 1).sum().item() * 0.054 for draw in draws]
    assert prediction.structures[0].volume_ml_95 == pytest.approx((min(volumes), max(volumes)), abs=1e-4)


def test_shapes_drawn_from_a_prediction_lie_on_the_scans_grid_and_repeat(tiny_bundle, scan):
    predictor = Predictor(tiny_bundle("low_rank", 3))
    prediction = predictor.predict(scan, seed=5, samples=40)
    one, two, other = (list(predictor.samples(prediction, 40, seed)) for seed in (5, 5, 6))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)
    assert {draw.shape for draw in one} == {prediction.label.shape}
    volume = np.linalg.det(prediction.affine[:3, :3]) / 1000
    for row in prediction.structures:  # drawn from the seed that the intervals were, on another grid
        volumes = [(draw == row.id).sum() * volume for draw in one]
        assert (min(volumes), max(volumes)) == pytest.approx(row.volume_ml_95, rel=0.15)


def test_where_there_is_no_shape_to_draw_the_reason_is_told(tiny_bundle, scan):
    predictor = Predictor(tiny_bundle("deterministic", 3))
    prediction = predictor.predict(scan)
    with pytest.raises(InputError, match="no whole segmentations can be drawn: the deterministic head draws no whole"):
        predictor.samples(prediction, 4)
