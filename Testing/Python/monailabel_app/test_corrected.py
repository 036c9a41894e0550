"""A model that is shown the corrected slices of the studies: on a server, from the first slice on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from Testing.Python.servers import SERVE, Server
from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.backbones import UniverSeg
from uncertaintyseg.data.layouts import Case
from uncertaintyseg.imports import import_model
from uncertaintyseg.imports.universeg import show_cases
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.inference.predictor import Predictor

COLD, OWN, LEARNT = "cold", "own", "tiny_deterministic"
FIRST, SECOND = "case_0", "case_1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Models that were shown nothing, something, and one that has learnt, with the phantoms in `data`."""
    folder = tmp_path_factory.mktemp("cold")
    torch.manual_seed(0)
    torch.save(UniverSeg((4, 5)).state_dict(), folder / "us.pt")
    tiny.write_phantoms(folder / "data", 3, **tiny.COARSE)
    given = {"output": folder / "models", "patch": "16"}
    import_model(folder / "us.pt", name=COLD, labels="organ,lesion", **given)
    import_model(folder / "us.pt", name=OWN, examples=folder / "data", slices=2, **given)
    tiny.give_random_weights(tiny.write_bundle(folder / "models"))
    return folder


@pytest.fixture(scope="module")
def started(launch, folder) -> Server:
    scans = sorted((folder / "data" / "images").glob("*.nii.gz"))
    places = ["--models", str(folder / "models"), "--cache", str(folder / "cache")]
    return launch([*SERVE, *places], scans[:2])


@pytest.fixture
def cold(started) -> Iterator[Server]:
    """The server, whose studies have no label before and after."""
    yield started
    for image, about in started.http.get("/datastore/?output=all").json()["objects"].items():
        if "final" in about["labels"]:
            started.remove_label(image)


def drawn(folder: Path, image: str) -> nib.Nifti1Image:
    return nib.load(folder / "data" / "labels" / f"{image}.nii.gz")


def correct(server: Server, folder: Path, image: str, slices: list[int], model: str = COLD) -> None:
    """Save the right label, of which only these axial slices were looked at."""
    label = drawn(folder, image)
    last = [size - 1 for size in label.shape]
    boxes = [[[0, 0, k], [last[0], last[1], k]] for k in slices]
    answer = server.put_label(image, Path(label.get_filename()), model=model, verified=boxes)
    assert answer.status_code == 200, answer.text


def inferred(server: Server, image: str, model: str = COLD, **params) -> dict:
    job = server.infer(model, image, **params)
    assert job["state"] == "done", job["error"]
    return job["result"]


@contextmanager
def added(server: Server, path: Path, image: str) -> Iterator[None]:
    """One more scan among the studies, for a while."""
    with path.open("rb") as file:
        reply = server.http.put(f"/datastore/?image={image}", files={"file": (path.name, file)})
    assert reply.status_code == 200, reply.text
    try:
        yield
    finally:
        assert server.http.delete(f"/datastore/?id={image}").status_code == 200


def shown(result: dict) -> list[tuple[str, int, int, bool]]:
    return [
        (one["case"], one["axis"], one["index"], one["same_patient"])
        for one in result["risk"]["provenance"]["examples"]
    ]  # fmt: skip


def test_the_slices_of_a_scan_that_were_corrected_segment_the_rest_of_it(cold, folder, tmp_path):
    correct(cold, folder, FIRST, [3, 4])
    result = inferred(cold, FIRST)
    assert shown(result) == [(FIRST, 2, 3, True), (FIRST, 2, 4, True)]
    label = hashlib.sha256(cold.http.get(f"/datastore/label?label={FIRST}&tag=final").content).hexdigest()
    assert {one["label"] for one in result["risk"]["provenance"]["examples"]} == {label}
    mask, image = np.zeros(drawn(folder, FIRST).shape, np.uint8), folder / "data" / "images" / f"{FIRST}.nii.gz"
    mask[..., [3, 4]] = 1
    nib.Nifti1Image(mask, drawn(folder, FIRST).affine).to_filename(tmp_path / "mask.nii.gz")
    case = Case(FIRST, image, Path(drawn(folder, FIRST).get_filename()), (), tmp_path / "mask.nii.gz", True)
    expected = Predictor(show_cases(Bundle.load(folder / "models" / COLD), [case], tmp_path)).predict(image)
    np.testing.assert_array_equal(cold.volume(result["label"]).get_fdata(), expected.label)
    entry = next(e for e in cold.http.get("/uncertainty/v1/audit").json() if e["event"] == "infer")
    assert entry["examples"] == [FIRST]
    assert len(entry["examples_sha256"]) == 64


def test_a_further_corrected_slice_counts_at_the_next_run(cold, folder):
    correct(cold, folder, FIRST, [3])
    before = inferred(cold, FIRST)
    assert inferred(cold, FIRST)["risk"]["result"] == before["risk"]["result"]
    correct(cold, folder, FIRST, [3, 5])
    after = inferred(cold, FIRST)
    assert shown(after) == [(FIRST, 2, 3, True), (FIRST, 2, 5, True)]
    assert after["risk"]["result"] != before["risk"]["result"]


def test_slices_of_the_scan_come_first_and_those_of_others_are_told_apart(cold, folder):
    correct(cold, folder, FIRST, [3, 4])
    assert shown(inferred(cold, SECOND)) == [(FIRST, 2, 3, False), (FIRST, 2, 4, False)]
    correct(cold, folder, SECOND, [5])
    assert shown(inferred(cold, SECOND)) == [(FIRST, 2, 3, False), (FIRST, 2, 4, False), (SECOND, 2, 5, True)]


def test_passes_go_over_parts_of_the_corrected_slices(cold, folder):
    correct(cold, folder, FIRST, [3, 4, 5])
    result = inferred(cold, FIRST, method="examples", options={"passes": 2})
    assert len(shown(result)) == 3
    assert cold.volume(result["risk"]["maps"]["variance"]["url"]).get_fdata().max() > 0


def test_an_image_among_corrected_volumes_is_left_out_by_name(cold, folder, tmp_path):
    correct(cold, folder, FIRST, [3, 4])
    values = np.pad(np.ones((6, 6, 1), np.uint8), ((5, 5), (5, 5), (0, 0)))
    nib.Nifti1Image(values, np.eye(4)).to_filename(tmp_path / "picture.nii.gz")
    with added(cold, tmp_path / "picture.nii.gz", "picture"):
        assert cold.put_label("picture", tmp_path / "picture.nii.gz", model=COLD).status_code == 200
        result = inferred(cold, SECOND)
        assert shown(result) == [(FIRST, 2, 3, False), (FIRST, 2, 4, False)]
        assert result["risk"]["provenance"]["left_out"] == ["picture"]


def test_models_forget_the_slices_of_a_scan_that_is_removed(cold, folder):
    correct(cold, folder, FIRST, [3, 4])
    made = folder / "cache" / "shown"
    before = set(made.glob("*"))
    with added(cold, folder / "data" / "images" / "case_2.nii.gz", "gone"):
        label = folder / "data" / "labels" / "case_2.nii.gz"
        assert cold.put_label("gone", label, model=COLD).status_code == 200
        result = inferred(cold, SECOND)
        assert {case for case, *_ in shown(result)} == {FIRST, "gone"}
        assert len(set(made.glob("*")) - before) == 1
    assert set(made.glob("*")) <= before
    assert shown(inferred(cold, SECOND)) == [(FIRST, 2, 3, False), (FIRST, 2, 4, False)]


def test_clicks_on_such_a_result_go_to_the_model_that_made_it(cold, folder):
    correct(cold, folder, FIRST, [3, 4])
    key = inferred(cold, FIRST)["risk"]["result"]
    reply = cold.http.post(f"/uncertainty/v1/results/{key}/condition", json={"organ": [[2, 2, 2]]})
    assert reply.status_code in (200, 202), reply.text


def test_without_a_drawn_slice_it_says_what_to_draw(cold):
    job = {"kind": "infer", "model": COLD, "image": FIRST, "params": {}}
    reply = cold.http.post("/uncertainty/v1/jobs", json=job)
    assert reply.status_code == 400
    assert "nothing is corrected yet: draw organ, lesion in some slices of any scan" in reply.json()["detail"]
    assert cold.http.post(f"/infer/{COLD}?image={FIRST}").status_code == 400


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "its labels show no pixels of 'organ'"), (1, "its labels show 1 pixel of 'organ'")],
)
def test_a_label_that_shows_next_to_nothing_is_refused(cold, folder, tmp_path, count, said):
    label = drawn(folder, FIRST)
    values = np.zeros(label.shape, np.uint8)
    values[4, 4, 4] = count
    nib.Nifti1Image(values, label.affine).to_filename(tmp_path / "label.nii.gz")
    assert cold.put_label(FIRST, tmp_path / "label.nii.gz", model=COLD).status_code == 200
    reply = cold.http.post(f"/infer/{COLD}?image={FIRST}")
    assert reply.status_code == 400
    assert f"the corrected slices: {said}: draw it in one slice at least" in reply.json()["detail"]


def test_a_part_of_a_slice_is_no_example(cold, folder):
    label = drawn(folder, FIRST)
    boxes = [[[0, 0, 4], [label.shape[0] - 1, label.shape[1] - 2, 4]]]
    cold.put_label(FIRST, Path(label.get_filename()), model=COLD, verified=boxes)
    reply = cold.http.post(f"/infer/{COLD}?image={FIRST}")
    assert reply.status_code == 400
    assert "verify whole slices in which it is" in reply.json()["detail"]


def test_a_model_with_examples_of_its_own_takes_the_corrected_ones_when_it_is_told_to(cold, folder):
    correct(cold, folder, FIRST, [3, 4], model=OWN)
    own = shown(inferred(cold, FIRST, OWN))
    assert len(own) == 2
    assert own != shown(inferred(cold, FIRST, OWN, examples=True)) == [(FIRST, 2, 3, True), (FIRST, 2, 4, True)]


def test_only_models_that_take_examples_are_told_to(cold):
    models = cold.http.get("/info/").json()["models"]
    assert {name: models[name]["examples"] for name in (COLD, OWN, LEARNT)} == {COLD: 0, OWN: 2, LEARNT: None}
    defaults = {
        name: next((o["default"] for o in models[name]["run_options"] if o["name"] == "examples"), None)
        for name in (COLD, OWN, LEARNT)
    }
    assert defaults == {COLD: True, OWN: False, LEARNT: None}
    for model, examples, said in (
        (LEARNT, True, "has learnt what it knows and takes no examples"),
        (COLD, False, "has no examples of its own"),
    ):
        job = {"kind": "infer", "model": model, "image": FIRST, "params": {"examples": examples}}
        reply = cold.http.post("/uncertainty/v1/jobs", json=job)
        assert reply.status_code == 400
        assert said in reply.json()["detail"]
