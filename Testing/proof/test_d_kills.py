"""kill -9 during saves, scoring, training and publishing: nothing acknowledged is lost, and the next start works."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time

import httpx
import pytest

from Testing.proof.folders import number_in, number_of
from Testing.Python.uncertaintyseg.tiny import give_random_weights, write_bundle, write_phantoms
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.training.versions import list_versions


class Told:
    """What a server was sent of an image, and what it acknowledged: labels and notes, by their numbers."""

    def __init__(self) -> None:
        self.sent = 0
        self.labels: list[int] = [0]
        self.notes: list[int] = [0]

    def since(self, acknowledged: list[int]) -> range:
        """What may be there: the last that was acknowledged, or one sent after it that a kill left without answer."""
        return range(acknowledged[-1], self.sent + 1)


class Saver(threading.Thread):
    """Saves labels of one image, and a note with the same number, until the server is gone."""

    def __init__(self, url: str, image: str, labels: list[bytes], told: Told) -> None:
        super().__init__()
        self._url, self._image, self._labels, self._told = url, image, labels, told

    def run(self) -> None:
        told = self._told
        with httpx.Client(base_url=self._url, timeout=10) as http:
            for number in range(told.sent + 1, len(self._labels)):
                told.sent = number
                try:
                    files = {"label": ("label.nii.gz", self._labels[number])}
                    http.put(f"/datastore/label?image={self._image}&tag=final", files=files).raise_for_status()
                    told.labels.append(number)
                    note = {"info": json.dumps({"number": number})}
                    http.put(f"/datastore/image/info?image={self._image}", data=note).raise_for_status()
                    told.notes.append(number)
                except httpx.TransportError:
                    return


def all_versions(server, image: str) -> set[int]:
    """The numbers in all labels of a case that are kept."""
    route = f"/uncertainty/v1/cases/{image}/versions"
    numbers = set()
    for version in server.http.get(route).json()["versions"]:
        data = server.http.get(f"{route}/{version['id']}/label")
        assert data.status_code == 200, data.text
        numbers.add(number_in(data.content))
    return numbers


def test_a_kill_during_saves_loses_no_acknowledged_label_or_note(folder, scans, label_of, quick, record_property):
    images = {scan.name.removesuffix(".nii.gz"): scan for scan in scans[:3]}
    labels = {image: [label_of(scan, number).read_bytes() for number in range(400)] for image, scan in images.items()}
    told = {image: Told() for image in images}
    chance = random.Random(0)
    kills, repairs = 2 if quick else 15, 0
    for _ in range(kills):
        server = folder.start()
        repairs += len(server.http.get("/info/").json()["datastore"]["repaired"])
        savers = [Saver(server.url, image, labels[image], told[image]) for image in images]
        for saver in savers:
            saver.start()
        time.sleep(chance.uniform(0.3, 1.5))
        folder.kill()
        for saver in savers:
            saver.join()
        for image, known in told.items():
            if known.labels[-1]:
                assert number_of(folder.label(image)) in known.since(known.labels)
        server = folder.start()
        objects = server.http.get("/datastore/?output=all").json()["objects"]
        for image, known in told.items():
            if known.labels[-1]:
                assert "final" in objects[image]["labels"]
                assert number_of(folder.label(image)) in known.since(known.labels)
            assert all_versions(server, image) >= set(known.labels[1:])
            assert objects[image]["image"]["info"].get("number", 0) in known.since(known.notes)
        folder.kill()
    count = sum(len(known.labels) - 1 for known in told.values())
    record_property("kills during saves", f"{kills}; {count} labels acknowledged, none lost; {repairs} repairs")


def test_a_kill_during_scoring_loses_no_score(folder, scans, record_property):
    server = folder.start()
    model, images = server.baseline, server.images()
    server.job(kind="score", model=model)

    def scores() -> dict[str, dict]:
        objects = server.http.get("/datastore/?output=all").json()["objects"]
        found = {image: item["image"]["info"].get("scores", {}).get(model) for image, item in objects.items()}
        return {image: score for image, score in found.items() if score}

    before = server.wait_until(scores, every=0.01)
    folder.kill()
    server = folder.start()
    assert {image: scores()[image] for image in before} == before
    state = server.ended(server.job(kind="score", model=model))
    assert set(state["result"]["scores"]) == set(images)
    assert {image: scores()[image] for image in before} == before
    record_property("kill during scoring", f"{len(before)} of {len(images)} scores were there and stayed")


@pytest.fixture
def trainable(folder):
    """A server's options: a tiny model with labelled phantoms in the studies folder."""
    root = folder.root
    write_phantoms(root / "data", count=6)
    folder.fill((root / "data" / "images").iterdir())
    for path in (root / "data" / "labels").iterdir():
        folder.label(path.name.removesuffix(".nii.gz")).parent.mkdir(parents=True, exist_ok=True)
        folder.label(path.name.removesuffix(".nii.gz")).write_bytes(path.read_bytes())
    give_random_weights(write_bundle(root / "models", recipe={"epochs": 3}))
    return ["--models", root / "models"]


def test_a_kill_during_training_leaves_a_model_that_answers(folder, trainable, quick, record_property):
    model, chance = "tiny_deterministic", random.Random(0)
    checksums = []
    kills = 2 if quick else 8
    for _ in range(kills):
        server = folder.start(*trainable)
        job = server.job(kind="train", model=model)
        server.wait_until(lambda server=server, job=job: server.state(job)["state"] != "queued", 300)
        time.sleep(chance.uniform(0, 2))
        folder.kill()
        server = folder.start(*trainable)
        checksums.append(server.http.get("/info/").json()["models"][model]["checksum"])
        assert server.infer(model, "case_0")["state"] == "done"
        bundle = Bundle.load(folder.root / "models" / model)
        known = {version.checksum for version in list_versions(bundle)}
        assert bundle.checksum == checksums[-1]
        assert not known or bundle.checksum in known
        folder.kill()
    server = folder.start(*trainable)
    state = server.ended(server.job(kind="train", model=model), 300)
    assert state["state"] == "done", state
    assert server.infer(model, "case_0", seed=1)["state"] == "done"
    record_property("kills during training", f"{kills}; the model answered after each; then a training went through")


PUBLISH = """
import sys
from pathlib import Path
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.training.versions import list_versions, publish, restore
from uncertaintyseg.wire import ModelVersion
home, candidates = Path(sys.argv[1]), [Path(path) for path in sys.argv[2:]]
print("ready", flush=True)
while True:
    for candidate in candidates:
        publish(Bundle.load(candidate), home, ModelVersion(), replaces=Bundle.load(home / candidate.name))
        restore(Bundle.load(home / candidate.name), 1)
"""


def test_a_kill_during_a_publication_leaves_the_old_weights_or_the_new_ones(tmp_path, quick, record_property):
    sources = [give_random_weights(write_bundle(tmp_path / str(seed)), seed) for seed in range(3)]
    home, chance = tmp_path / "home", random.Random(0)
    home.mkdir()
    original, known = sources[0].checksum, {source.checksum for source in sources}
    sources[0].folder.rename(home / sources[0].name)
    command = [sys.executable, "-c", PUBLISH, str(home), *(str(source.folder) for source in sources[1:])]
    kills = 3 if quick else 40
    seen = set()
    for _ in range(kills):
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        process.stdout.readline()
        time.sleep(chance.uniform(0, 0.3))
        process.kill()
        process.wait()
        bundle = Bundle.load(home / sources[0].name)
        bundle.network()  # its weights are whole
        assert bundle.checksum in known
        seen.add(bundle.checksum)
        versions = [version.checksum for version in list_versions(bundle)]
        assert len(versions) == len(set(versions))
        assert not versions or original in versions
    record_property("kills during publications", f"{kills}; {len(seen)} different weights were found in use, all whole")
