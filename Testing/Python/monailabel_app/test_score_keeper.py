"""Scores that keep up with new images and new weights, over a real studies folder."""

from __future__ import annotations

import shutil
import threading
from dataclasses import dataclass

import numpy as np
import pytest

pytest.importorskip("monailabel")

from monailabel_app.app.datastore import StudyDatastore
from monailabel_app.app.scores import Scores
from monailabel_app.app.scoring import ScoreKeeper
from uncertaintyseg.errors import InputError


@dataclass
class Weights:
    """All that is asked of a task here."""

    checksum: str


@pytest.fixture
def datastore(tmp_path, scans) -> StudyDatastore:
    for number, scan in enumerate(scans[:2]):
        shutil.copy(scan, tmp_path / f"case_{number}.nii.gz")
    return StudyDatastore(str(tmp_path), auto_reload=False)


@pytest.fixture
def keeper(datastore):
    """A keeper with one model, and what it queued."""
    scores, tasks, queued = Scores(datastore), {"m": Weights("a")}, []

    def submit(model: str) -> None:
        queued.append((model, tasks[model].checksum))
        keeper.begin(model)

    keeper = ScoreKeeper(submit, scores, tasks, datastore)
    return keeper, scores, tasks, queued


def catch_up(keeper: ScoreKeeper) -> None:
    """And wait for its thread."""
    keeper.catch_up()
    for thread in threading.enumerate():
        if "_catch_up" in thread.name:
            thread.join()


def settled(keeper: ScoreKeeper, queued: list) -> list:
    catch_up(keeper)
    return list(queued)


def test_nothing_is_scored_before_somebody_asks(keeper):
    kept, _, _, queued = keeper
    assert settled(kept, queued) == []


def test_a_new_image_and_new_weights_are_queued_once(keeper, datastore, scans):
    kept, scores, tasks, queued = keeper
    kept.begin("m")
    assert settled(kept, queued) == []  # the first job is under way
    datastore.add_image("new", str(scans[0]), {})
    assert settled(kept, queued) == [("m", "a")]
    assert settled(kept, queued) == [("m", "a")]
    for image in datastore.list_images():
        scores.record(image, "m", "a", {"predictive_entropy": 0.1})
    assert settled(kept, queued) == [("m", "a")]
    tasks["m"].checksum = "b"
    assert settled(kept, queued) == [("m", "a"), ("m", "b")]


def test_what_cannot_be_queued_breaks_nothing(datastore, scans, caplog):
    def refuse(model: str) -> None:
        raise InputError("no room")

    kept = ScoreKeeper(refuse, Scores(datastore), {"m": Weights("a")}, datastore)
    kept.begin("m")
    datastore.add_image("new", str(scans[0]), {})
    catch_up(kept)
    assert "m does not score what is new: no room" in caplog.text


def test_scores_and_features_come_back_as_they_were_noted(datastore):
    scores = Scores(datastore)
    features = np.linspace(-3, 3, 7)
    scores.record("case_0", "m", "a", {"predictive_entropy": 0.25, "variance": 0.5}, features)
    scores.record("case_1", "m", "a", {"predictive_entropy": 0.5})
    found = scores.all_of("m", "a")
    assert found["case_0"].scores == {"predictive_entropy": 0.25, "variance": 0.5}
    np.testing.assert_allclose(found["case_0"].features, features, atol=2e-3)
    assert found["case_1"].features is None
    assert scores.of("m", "a") == {"case_0": 0.25, "case_1": 0.5}
    assert scores.of("m", "b") == scores.of("other", "a") == {}
    scores.record("gone", "m", "a", {"predictive_entropy": 0.5})  # it left the folder meanwhile


def test_the_same_scores_are_not_written_again(datastore):
    scores = Scores(datastore)
    scores.record("case_0", "m", "a", {"predictive_entropy": 0.25}, [1.0])
    before = datastore.store.revision
    scores.record("case_0", "m", "a", {"predictive_entropy": 0.25}, [1.0])
    assert datastore.store.revision == before
