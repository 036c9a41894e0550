"""What an actor does with an order, run in this process: it needs no Ray for it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from monailabel_app.errors import DeviceFailedError, ModelAwayError
from monailabel_app.jobs import Predict, ResultStore
from monailabel_app.jobs.ray_task import Order, Scan, delivered, models_of
from monailabel_app.jobs.ray_work import ByRay, Cluster
from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.errors import InputError, StorageError
from uncertaintyseg.inference.bundle import METADATA
from uncertaintyseg.inference.shipping import shipped


@pytest.fixture
def work(tmp_path) -> Predict:
    tiny.write_phantoms(tmp_path, 1, **tiny.COARSE)
    bundle = tiny.give_random_weights(tiny.write_bundle(tmp_path / "models", **tiny.COARSE_MODEL))
    image = tmp_path / "images" / "case_0.nii.gz"
    return Predict("a" * 64, str(image), str(bundle.folder), bundle.checksum, 0, 2, "cpu", str(tmp_path / "results"))


def order(work: Predict) -> Order:
    return Order(work, models_of(work), Scan("case_0", Path(work.image)))


def do(order: Order):
    return delivered(order, lambda stage, fraction: None)


def test_it_sends_the_files_of_the_result_and_writes_nothing_of_the_servers(work):
    by_path = order(work)
    by_bytes = replace(by_path, scan=shipped(by_path.scan, 1))
    made, from_bytes = do(by_path), do(by_bytes)
    assert (made.kind, made.text) == ("made", work.key)
    assert not Path(work.results).exists()
    same = {name for name in made.files if made.files[name] == from_bytes.files[name]}
    assert same == made.files.keys() - {"report.json"}


def test_another_model_under_the_same_path_is_told_apart(work):
    asked = order(work)
    config = Path(work.bundle) / METADATA
    config.write_text(json.dumps(json.loads(config.read_text()) | {"description": "another"}))
    found = do(asked)
    assert found.kind == "model"
    assert "has another configuration or calibration of the model" in found.text
    gone = do(replace(asked, models=tuple(replace(model, checksum="f" * 64) for model in asked.models)))
    assert (gone.kind, gone.files) == ("model", {})
    assert "does not have the model" in gone.text


def test_a_scan_that_the_node_does_not_see_is_said_with_the_way_out(work):
    found = do(order(replace(work, image="/nowhere/case_0.nii.gz")))
    assert found.kind == "unseen"
    assert found.text.endswith("or send scans as bytes: --ray-scans bytes.")


def test_want_of_memory_is_told_after_all_smaller_windows(work, monkeypatch):
    def run(self, report):
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(Predict, "run", run)
    assert do(order(work)).kind == "memory"
    monkeypatch.setattr(Predict, "run", lambda self, report: (_ for _ in ()).throw(RuntimeError("CUDA error: launch")))
    assert do(order(work)).kind == "device"


class Hand:
    """In place of an actor: answers with a delivery."""

    def __init__(self, delivery):
        self.delivery = delivery

    def deliver(self, order):
        return self.delivery


@pytest.fixture
def by_ray(work, monkeypatch):
    """Runs work whose actor answers as told."""

    def run(delivery, work=work):
        monkeypatch.setattr("monailabel_app.jobs.ray_hand.hand_to", lambda cluster: Hand(delivery))
        return ByRay(work, Cluster("127.0.0.1:6379")).run(lambda stage, fraction: None)

    return run


def test_a_result_under_a_key_that_was_not_asked_for_is_refused(work, by_ray):
    own, other = do(order(work)), do(order(replace(work, key="b" * 64)))
    with pytest.raises(StorageError, match="is not that result"):
        by_ray(other)
    assert ResultStore(Path(work.results)).report("b" * 64) is None
    assert by_ray(own) == work.key
    assert ResultStore(Path(work.results)).report(work.key)


def test_a_stand_in_for_want_of_memory_comes_under_its_own_key(work, by_ray, monkeypatch):
    predict = Predict._predict
    monkeypatch.setattr(Predict, "_predict", lambda self, report, *how: predict(self, report, "cpu", 0, "no memory"))
    made = do(order(work))
    assert made.text != work.key
    assert by_ray(made) == made.text
    assert ResultStore(Path(work.results)).report(made.text).risk.provenance.fallback


@pytest.mark.parametrize(
    ("kind", "error"), [("model", ModelAwayError), ("unseen", DeviceFailedError), ("memory", MemoryError)]
)
def test_why_there_is_no_result_decides_what_comes_of_the_step(work, by_ray, kind, error):
    made = replace(do(order(work)), kind=kind, text="why", files={})
    with pytest.raises(error, match="why"):
        by_ray(made)
    if kind == "unseen":  # nor here
        with pytest.raises(InputError, match="is gone"):
            by_ray(made, replace(work, image="/nowhere/case_0.nii.gz"))
