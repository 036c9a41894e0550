"""The heat map of an expected anomaly, and the score in the structure table."""

from __future__ import annotations

import numpy as np
import pytest

from Testing.Python.uncertaintyseg import flat, tiny
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.anomalies import MISMATCH
from uncertaintyseg.inference.predictor import Predictor
from uncertaintyseg.review.anomaly import expected_anomaly, expected_mismatch


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    return Predictor(tiny.give_random_weights(flat.write_flat_bundle(tmp_path_factory.mktemp("models"))))


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    return flat.write_png(tmp_path_factory.mktemp("pictures") / "a.png", flat.frame(0)[0])


@pytest.fixture(scope="module")
def prediction(predictor, picture):
    return predictor.predict(picture, anomaly="organ")


def test_the_map_is_the_chance_to_be_on_the_wrong_side(prediction):
    inside, p = prediction.label == 1, np.asarray(prediction.maps["probability_organ"])
    np.testing.assert_allclose(prediction.maps[MISMATCH], expected_mismatch(inside, p), atol=1e-6)
    about = prediction.map_info[MISMATCH]
    assert (about.unit, about.range) == ("1", (0.0, 1.0))
    assert "organ" in about.description
    assert prediction.provenance.params == {"anomaly": "organ"}


def test_the_table_has_the_score_of_every_structure_anyway(predictor, picture, prediction):
    plain = predictor.predict(picture)
    assert MISMATCH not in plain.maps
    for row in plain.structures:
        score = expected_anomaly(plain.label == row.id, np.asarray(plain.maps[f"probability_{row.name}"]))
        assert row.expected_anomaly == (None if np.isnan(score) else pytest.approx(score, abs=1e-4))
    assert plain.structures == prediction.structures


def test_a_structure_that_there_is_not_is_refused(predictor, picture):
    with pytest.raises(InputError, match="no structure 'heart'"):
        predictor.predict(picture, anomaly="heart")
    with pytest.raises(InputError, match="no structure 'lesion'"):
        predictor.predict(picture, anomaly="lesion", structures=["organ"])
