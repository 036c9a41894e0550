"""Every request against the real server process, over real scans where they are, else phantoms."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

pytest.importorskip("monailabel")

from Testing.Python import servers
from Testing.Python.SlicerUncertaintySeg.server.conftest import Asker
from UncertaintySegLib import __version__
from UncertaintySegLib.errors import ServerError
from UncertaintySegLib.server.local_server import LocalServer
from UncertaintySegLib.server.replies import parse_case, parse_info, parse_sample
from UncertaintySegLib.server.results import parse_result
from UncertaintySegLib.server.worker_client import WorkerClient

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="MONAI Label's server wants POSIX here")


@pytest.fixture(scope="module")
def studies(tmp_path_factory, scans) -> Path:
    folder = tmp_path_factory.mktemp("studies")
    for scan in scans[:2]:
        (folder / scan.name).write_bytes(scan.read_bytes())
    return folder


@pytest.fixture(scope="module")
def real(tmp_path_factory, studies):
    """The real server, started as the panel starts it, and somebody who asks it."""
    folder = tmp_path_factory.mktemp("real")
    command = f"{sys.executable} -m uncertaintyseg.cli"
    environment = {**servers.environment(folder), "XDG_CACHE_HOME": str(folder / "cache")}
    server = LocalServer(command, studies, environment)
    asker = Asker(WorkerClient(), server.url, folder / "downloads")

    def ready() -> bool:
        assert server.running, server.log_lines()
        ticket = asker.start("health")
        return not isinstance(asker.end(ticket), Exception)

    asker.wait(ready, seconds=120)
    yield asker
    asker.worker.close()
    server.stop()
    server._process.wait(30)
    server.forget()


@pytest.fixture(scope="module")
def image(scans) -> str:
    return scans[0].name.removesuffix(".nii.gz")


@pytest.fixture(scope="module")
def model(real) -> str:
    info = parse_info(real.ask("connect")["info"])
    assert info.version == __version__
    return f"{servers.TASK}_low_rank"  # of the kind that the scans are


@pytest.fixture(scope="module")
def inferred(real, model, image) -> dict:
    return real.ask("infer", model=model, image=image, params={"seed": 1}, maps=["predictive_entropy"])


def test_cases_list_every_scan(real, scans):
    rows = [parse_case(row) for row in real.ask("cases", client_id="anna")["cases"]]
    assert [row.id for row in rows] == [scan.name.removesuffix(".nii.gz") for scan in scans[:2]]


def test_scoring_says_how_far_it_is_and_ranks_the_next_case(real, model):
    scores = real.ask("score", model=model)["scores"]
    answer = real.ask("next_case", strategy="predictive_entropy", params={"model": model, "client_id": "anna"})
    sample = parse_sample(answer["sample"])
    assert sample.score == max(scores.values())
    assert sample.provenance["rank"] == 1
    assert nib.load(answer["scan"]).ndim == 3


def test_a_case_that_another_has_is_refused_with_the_reason(real, image):
    real.ask("open_case", image=image, client_id="anna")
    with pytest.raises(ServerError, match=r"anna has .* until") as refused:
        real.ask("open_case", image=image, client_id="bob")
    assert refused.value.status == 409


def test_an_inference_brings_regions_a_curve_and_its_maps(real, inferred):
    result = parse_result(inferred["result"])
    assert result.provenance["seed"] == 1
    assert result.regions[0].expected_error_ml >= result.regions[-1].expected_error_ml > 0
    assert result.risk_coverage
    assert result.remaining_error_ml > 0
    entropy = nib.load(inferred["maps"]["predictive_entropy"]).get_fdata()
    assert entropy.shape == nib.load(inferred["label"]).shape
    assert 0 < entropy.max() <= np.log(3) + 1e-3


def test_further_maps_are_fetched_when_asked_for(real, inferred):
    result = parse_result(inferred["result"])
    urls = {"error_probability": result.maps["error_probability"].url}
    path = Path(real.ask("fetch_maps", result=result.key, maps=urls)["maps"]["error_probability"])
    assert path.parent == Path(inferred["label"]).parent
    assert nib.load(path).get_fdata().max() <= 1


def test_a_click_moves_the_segmentation(real, inferred):
    result = parse_result(inferred["result"])
    label = np.asarray(nib.load(inferred["label"]).dataobj)
    outside = np.argwhere(label == 0)
    near = outside[np.abs(outside - np.array(result.regions[0].ijk)).sum(1).argmin()].tolist()
    corrections = {result.regions[0].structure: [near]}
    answer = real.ask("condition", result=result.key, corrections=corrections, maps=["predictive_entropy"])
    moved = np.asarray(nib.load(answer["label"]).dataobj)
    assert moved[tuple(near)] == next(row.id for row in result.labels if row.name == result.regions[0].structure)
    assert parse_result(answer["result"]).moved in ("shape", "voxel")


def test_a_review_scores_a_label_that_is_not_the_models(real, inferred, tmp_path):
    image = nib.load(inferred["label"])
    label = np.asarray(image.dataobj).copy()
    label[: label.shape[0] // 2] = 0
    nib.Nifti1Image(label, image.affine).to_filename(tmp_path / "half.nii.gz")
    result = parse_result(inferred["result"])
    answer = real.ask(
        "review",
        result=result.key,
        file=str(tmp_path / "half.nii.gz"),
        params={"trusted": "none", "accepted": []},
        maps=["error_probability", "anomaly", "predictive_entropy"],
    )
    reviewed = parse_result(answer["result"])
    assert reviewed.remaining_error_ml > result.remaining_error_ml
    assert max(row.anomaly_score or 0 for row in reviewed.structures) > 0
    assert {Path(path).parent.name for path in answer["maps"].values()} == {reviewed.key, result.key}


def test_plausible_segmentations_come_with_their_volumes(real, inferred):
    result = parse_result(inferred["result"])
    drawn = real.ask("samples", result=result.key, count=3, seed=2)["samples"]
    totals = [sum(sample["volumes_ml"].values()) for sample in drawn]
    assert totals == sorted(totals)
    voxels = [np.count_nonzero(np.asarray(nib.load(sample["label"]).dataobj)) for sample in drawn]
    assert voxels == sorted(voxels)


def test_a_submitted_label_comes_back_when_the_case_is_opened(real, inferred, image, model):
    key = parse_result(inferred["result"]).key
    params = {"model": model, "result": key, "seconds_open": 12.5}
    assert real.ask("submit", image=image, file=inferred["label"], params=params)["label"] == image
    answer = real.ask("open_case", image=image, client_id="anna")
    assert parse_case(answer["row"]).status == "labelled"
    saved = nib.load(answer["label"])
    assert np.array_equal(np.asarray(saved.dataobj), np.asarray(nib.load(inferred["label"]).dataobj))


def test_a_scan_of_the_scene_becomes_a_case(real, scans):
    assert real.ask("upload_scan", file=str(scans[0]), image="from_the_scene") == {"image": "from_the_scene"}
    assert "from_the_scene" in json.dumps(real.ask("cases"))
    with pytest.raises(ServerError, match="there is an image 'from_the_scene' already"):
        real.ask("upload_scan", file=str(scans[0]), image="from_the_scene")


def test_a_training_without_enough_labels_says_what_it_lacks(real, model):
    with pytest.raises(ServerError, match="label"):
        real.ask("train", model=model, params={"scope": "head"})


def test_a_label_on_another_grid_is_refused_in_a_sentence(real, inferred, image, tmp_path):
    nib.Nifti1Image(np.zeros((4, 4, 4), np.uint8), np.eye(4)).to_filename(tmp_path / "tiny.nii.gz")
    with pytest.raises(ServerError, match=r"grid|shape") as refused:
        real.ask("submit", image=image, file=str(tmp_path / "tiny.nii.gz"))
    assert 400 <= refused.value.status < 500
    assert os.linesep not in str(refused.value)
