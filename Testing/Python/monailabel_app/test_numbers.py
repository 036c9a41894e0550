"""What other code computed is computed anew: `NUMBERS` is part of every name under which a number is kept."""

from __future__ import annotations

import importlib
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("monailabel")

from monailabel_app.app.datastore import StudyDatastore
from monailabel_app.app.scores import Scores
from monailabel_app.jobs.condition import Condition, condition_key
from monailabel_app.jobs.predict import Predict
from monailabel_app.jobs.results import ResultStore
from monailabel_app.jobs.samples import Draw, sample_path, stored_samples
from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg import NUMBERS, wire
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.inference.result_key import result_key

reviews = importlib.import_module("monailabel_app.app.reviews")
CLICKS = ((5, 5, 5, 1, False),)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Bundle:
    return tiny.give_random_weights(tiny.write_bundle(tmp_path_factory.mktemp("models"), "low_rank", 3))


@pytest.fixture
def store(tmp_path) -> ResultStore:
    return ResultStore(tmp_path / "results")


@pytest.fixture
def raised(monkeypatch):
    """Raises NUMBERS, as a new version of the code would."""

    def upgrade() -> None:
        for module in ("app.scores", "app.reviews", "jobs.condition", "jobs.samples"):
            monkeypatch.setattr(f"monailabel_app.{module}.NUMBERS", NUMBERS + 1)
        monkeypatch.setattr("uncertaintyseg.inference.result_key.NUMBERS", NUMBERS + 1)

    return upgrade


def predict(store: ResultStore, model: Bundle, scan: Path) -> str:
    """As the server does: only what the store does not have is computed."""
    about = {"seed": 0, "samples": 4, "device": "cpu"}
    key = result_key(scan, model, **about)
    if store.report(key) is None:
        places = {"image": str(scan), "bundle": str(model.folder), "results": str(store.root)}
        Predict(key, checksum=model.checksum, **places, **about).run(lambda stage, fraction: None)
    return key


def place(store: ResultStore, model: Bundle) -> dict[str, str]:
    return {
        "results": str(store.root), "bundle": str(model.folder), "checksum": model.checksum, "device": "cpu",
    }  # fmt: skip


def test_results_corrections_and_reviews_of_other_code_are_made_anew(store, model, scans, raised):
    def everything() -> list[str]:
        base = predict(store, model, scans[0])
        work = Condition(base, base, CLICKS, **place(store, model))
        moved = condition_key(work)
        if store.report(moved) is None:
            replace(work, key=moved).run(lambda stage, fraction: None)
        label = np.asarray(store.prediction(base)[0].label)
        reviewed = reviews.review(store, base, label, wire.ReviewRequest())
        return [base, moved, reviewed.risk.result]

    before = everything()
    assert everything() == before
    assert store.report(before[0]).risk.provenance.numbers == NUMBERS
    assert len(list(store.root.iterdir())) == 3
    raised()
    after = everything()
    assert not set(before) & set(after)
    assert len(list(store.root.iterdir())) == 6


def test_shapes_that_other_code_drew_are_drawn_anew_behind_a_result_that_is_still_held(store, model, scans, raised):
    key = predict(store, model, scans[0])
    draw = Draw(key, count=2, seed=1, **place(store, model))
    draw.run(lambda stage, fraction: None)
    assert len(stored_samples(store, key, 1, 2).samples) == 2
    broken = sample_path(store, key, "1-2-0")
    broken.write_bytes(b"as an older version drew it")
    raised()
    assert stored_samples(store, key, 1, 2) is None
    draw.run(lambda stage, fraction: None)
    assert sample_path(store, key, "1-2-0").read_bytes() != broken.read_bytes()


@pytest.fixture
def datastore(tmp_path, scans) -> StudyDatastore:
    shutil.copy(scans[0], tmp_path / "case.nii.gz")
    return StudyDatastore(str(tmp_path), auto_reload=False)


def entry(datastore: StudyDatastore) -> dict:
    return datastore.get_image_info("case")["scores"]["m"]


@pytest.mark.parametrize("other", [{"numbers": NUMBERS - 1}, {"numbers": None}, {"numbers": str(NUMBERS)}, None])
def test_a_stored_score_of_other_code_counts_as_none_until_it_is_made_again(datastore, other):
    scores = Scores(datastore)
    scores.record("case", "m", "a", {"predictive_entropy": 0.1, "expected_dice_loss": 1.0}, np.ones(3))
    assert scores.all_of("m", "a")["case"].scores == {"predictive_entropy": 0.1, "expected_dice_loss": 1.0}
    old = entry(datastore)
    if other is None:
        del old["numbers"]  # as before there were NUMBERS
    datastore.update_image_info("case", {"scores": {"m": old | (other or {})}})
    assert scores.of("m", "a") == {}
    scores.record("case", "m", "a", {"predictive_entropy": 0.1, "expected_dice_loss": 0.06}, np.ones(3))
    assert scores.all_of("m", "a")["case"].scores["expected_dice_loss"] == 0.06
    assert entry(datastore)["numbers"] == NUMBERS


def test_a_score_of_today_is_none_for_the_code_of_tomorrow(datastore, raised):
    scores = Scores(datastore)
    scores.record("case", "m", "a", {"predictive_entropy": 0.1})
    raised()
    assert scores.of("m", "a") == {}
