"""Thresholds of a run: what they are of, what they change, and that the value that was found is told."""

from __future__ import annotations

import numpy as np
import pytest

from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.cutting import cuttable
from uncertaintyseg.inference.predictor import Predictor


@pytest.fixture
def bundle(tiny_bundle):
    return tiny_bundle("low_rank", 3)


def probabilities(prediction) -> np.ndarray:
    own = [np.asarray(prediction.maps[f"probability_{name}"]) for name in ("organ", "lesion")]
    return np.stack([1 - own[0] - own[1], *own])


def test_a_structure_is_where_its_own_probability_exceeds_the_threshold(bundle, scan, tmp_path):
    plain, cut = Predictor(bundle).predict(scan), Predictor(bundle, threshold="lesion:percentile=80").predict(scan)
    p = probabilities(plain)
    value = np.percentile(p[2], 80)
    others = np.stack([p[0], p[1]])
    wanted = np.where(p[2] > value, 2, others.argmax(0))
    assert (cut.label == wanted).mean() > 0.999  # a rounding on the threshold itself
    assert (cut.label != plain.label).any()
    error = 1 - np.take_along_axis(p, cut.label[None].astype(int), 0)[0]
    assert np.allclose(error, cut.maps["error_probability"], atol=1e-5)
    told = cut.save(tmp_path / "out")["threshold"]
    assert told["value"] == pytest.approx(value, abs=1e-6)
    assert (told["of"], told["method"], told["setting"], told["fallback"]) == ("lesion", "percentile", 80, False)
    voxel = abs(np.linalg.det(cut.affine[:3, :3])) / 1000
    assert told["above_ml"] == pytest.approx((cut.label == 2).sum() * voxel, abs=1e-4)
    assert cut.provenance.params == {"threshold": "lesion:percentile=80.0"}


def test_a_threshold_on_an_uncertainty_map_marks_it_and_leaves_label_and_maps(bundle, scan):
    plain = Predictor(bundle).predict(scan)
    cut = Predictor(bundle, threshold="predictive_entropy:mean_std=0.5").predict(scan)
    assert np.array_equal(cut.label, plain.label)
    for name in plain.maps:
        assert np.array_equal(cut.maps[name], plain.maps[name]), name
    entropy = np.asarray(plain.maps["predictive_entropy"], np.float64)
    value = entropy.mean() + 0.5 * entropy.std()
    assert cut.threshold.value == pytest.approx(value)
    assert cut.threshold.unit == "nats"
    assert np.array_equal(cut.maps["above_threshold"], entropy > cut.threshold.value)
    assert cut.map_info["above_threshold"].description == cut.threshold.text
    assert plain.threshold is None


def test_what_the_model_did_not_see_is_in_no_threshold(bundle, scan):
    shape = Predictor(bundle).predict(scan).label.shape
    region = [(0, size // 2) for size in shape]
    box = tuple(slice(*part) for part in region)
    cut = Predictor(bundle, threshold="margin_risk:percentile=50").predict(scan, region=region)
    seen = np.asarray(cut.maps["margin_risk"])[box]
    assert cut.threshold.value == pytest.approx(np.percentile(seen, 50))
    assert cut.maps["above_threshold"].sum() == (seen > cut.threshold.value).sum()
    label = Predictor(bundle, threshold="percentile=50").predict(scan, region=region)
    assert (label.label[box] > 0).mean() == pytest.approx(0.5, abs=0.05)


def test_what_can_be_cut_is_listed_and_the_rest_refused(bundle):
    assert cuttable(bundle)[:3] == ["foreground", "organ", "lesion"]
    assert "fused_uncertainty" in cuttable(bundle, "fused")
    assert "fused_uncertainty" not in cuttable(bundle, "tta")
    with pytest.raises(InputError, match="'spleen', which this run has not; it has foreground, organ"):
        Predictor(bundle, threshold="spleen:otsu")
    with pytest.raises(InputError, match=r"from 0 to 0\.3333; 0\.4 is none"):
        Predictor(bundle, threshold="variance:0.4")
