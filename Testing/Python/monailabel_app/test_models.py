"""Models as data: a bundle that is there is a task, one that comes is a new task, a broken one changes nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from monailabel_app.app.models import Models, Tasks, describe
from monailabel_app.app.train_task import BundleTrainTask
from Testing.Python.uncertaintyseg.tiny import give_random_weights, write_bundle
from Testing.Python.uncertaintyseg.training.test_derived import write_imported
from uncertaintyseg.errors import BundleError
from uncertaintyseg.inference.bundle import METADATA, TRAINING, Bundle
from uncertaintyseg.training.beside import keep_shift
from uncertaintyseg.training.variant import with_head
from uncertaintyseg.wire import LabelShift


@pytest.fixture
def folder(tmp_path) -> Path:
    give_random_weights(write_bundle(tmp_path / "given"))
    return tmp_path / "given"


def test_a_bundle_that_changes_is_another_one_and_the_rest_stay(folder):
    models = Models([folder], folder)
    before, other = models["tiny_deterministic"], models["phantom_low_rank"]
    assert models["tiny_deterministic"] is before
    give_random_weights(folder / "tiny_deterministic", seed=1)
    assert models["tiny_deterministic"].checksum != before.checksum
    assert models["phantom_low_rank"] is other


def test_a_folder_that_appears_later_wins(folder, tmp_path):
    home = tmp_path / "home"
    models = Models([folder], home)
    assert models["tiny_deterministic"].folder == folder / "tiny_deterministic"
    shutil.copytree(folder, home)
    assert models["tiny_deterministic"].folder == home / "tiny_deterministic"
    assert models.seen()["tiny_deterministic"].folder == home / "tiny_deterministic"


def test_a_bundle_that_breaks_while_the_server_runs_stays_as_it_was(folder):
    models = Models([folder], folder)
    before = models["tiny_deterministic"]
    (folder / "tiny_deterministic" / METADATA).write_text("{")
    assert models["tiny_deterministic"] is before
    broken = write_bundle(folder, "low_rank")
    (broken / METADATA).write_text("{")
    assert "tiny_low_rank" not in models


def test_a_bundle_that_is_broken_at_the_start_is_named(folder):
    (folder / "tiny_deterministic" / METADATA).write_text("{")
    with pytest.raises(BundleError, match="not valid JSON"):
        Models([folder], folder)


@pytest.mark.parametrize("name", ["..", ".", "", "/", "../given/tiny_deterministic", "a\0b", "x" * 5000])
def test_a_name_is_never_a_path(folder, name):
    models = Models([folder], folder)
    assert name not in models
    assert models.get(name) is None


def test_a_task_is_made_once_for_each_state_of_its_bundle(folder):
    made = []
    tasks = Tasks(Models([folder], folder), lambda bundle: made.append(bundle) or bundle.checksum)
    assert tasks["tiny_deterministic"] == dict(tasks.items())["tiny_deterministic"]
    count = len(made)
    assert tasks.seen() == tasks.seen()
    assert len(made) == count
    give_random_weights(folder / "tiny_deterministic", seed=1)
    tasks.seen()
    assert len(made) == count + 1


def test_a_model_that_has_no_such_task_is_not_in_it(folder):
    (folder / "tiny_deterministic" / TRAINING).unlink()
    tasks = Tasks(Models([folder], folder), lambda bundle: bundle.name if (bundle.folder / TRAINING).exists() else None)
    assert "tiny_deterministic" not in tasks
    assert "tiny_deterministic" not in tasks.seen()
    assert "phantom_low_rank" in tasks


def test_a_bundle_that_is_added_can_be_used_and_trained_at_once(tiny_server):
    give_random_weights(write_bundle(tiny_server.folder / "models", "diagonal"))
    info = tiny_server.http.get("/info/").json()
    assert info["models"]["tiny_diagonal"]["head"] == "diagonal"
    assert "tiny_diagonal" in info["trainers"]
    assert tiny_server.infer("tiny_diagonal", tiny_server.images()[0])["state"] == "done"
    names = [model["name"] for model in tiny_server.http.get("/uncertainty/v1/models").json()]
    assert names == sorted(info["models"])
    assert tiny_server.http.get("/uncertainty/v1/models/nobody").status_code == 404


def test_a_head_whose_base_changes_is_refused_by_name(tiny_server):
    models = tiny_server.folder / "models"
    base = give_random_weights(write_bundle(models, task="foreign"))
    metadata = json.loads((base.folder / METADATA).read_text(encoding="utf-8"))
    metadata["uncertainty"]["origin"] = {"source": "nnunet"}
    (base.folder / METADATA).write_text(json.dumps(metadata))
    derived = with_head(Bundle.load(base.folder), "temperature", models)
    derived.save(derived.network(weights=False))
    image = tiny_server.images()[0]
    first = tiny_server.infer(derived.name, image)
    assert first["state"] == "done", first
    assert first["result"]["risk"]["provenance"]["weights_checksum"] == Bundle.load(derived.folder).checksum

    give_random_weights(base.folder, seed=1)
    request = {"kind": "infer", "model": derived.name, "image": image}
    for why in ("has other weights", "is not here"):
        reply = tiny_server.http.post("/uncertainty/v1/jobs", json=request)
        assert reply.status_code == 400
        assert f"this temperature model needs 'foreign_deterministic', which {why}" in reply.json()["detail"]
        shutil.rmtree(base.folder, ignore_errors=True)
    shutil.rmtree(derived.folder)


def test_an_imported_network_is_not_offered_to_train_and_of_one_with_a_head_only_the_head_is(tmp_path):
    imported = write_imported(tmp_path)
    assert not describe(imported).trainable
    made = with_head(imported, "laplace", tmp_path)
    assert describe(made).trainable
    task = BundleTrainTask(made, {}, None, "cpu", lambda name, answer: None)
    assert task.config()["scope"] == ["head"]


def test_how_far_a_head_moves_the_label_is_described_as_soon_as_it_is_counted(folder):
    models = Models([folder], folder)
    assert describe(models["tiny_deterministic"]).label_shift is None
    shift = LabelShift(base="other", voxels=1, foreground=2)
    keep_shift(models["tiny_deterministic"], shift)
    assert describe(models["tiny_deterministic"]).label_shift == shift
