"""A model that is prompted on a real server: what a run takes, what is refused, and what /info offers."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

pytest.importorskip("transformers")
pytest.importorskip("monailabel")

from Testing.Python.servers import SERVE, Server
from Testing.Python.uncertaintyseg import sam_folders, tiny
from uncertaintyseg.imports import import_model
from uncertaintyseg.inference.predictor import Predictor

BOX = {"structure": "organ", "first": [8, 8, 6], "last": [20, 18, 6]}


@pytest.fixture(scope="module")
def sam(launch, tmp_path_factory) -> Server:
    """A SAM of random numbers and a model that can prompt it, over one case."""
    folder = tmp_path_factory.mktemp("sam")
    sam_folders.write_folder(folder / "published", "sam")
    import_model(folder / "published", output=folder / "models", name="my_sam", labels="organ,lesion")
    tiny.give_random_weights(tiny.write_bundle(folder / "models", "deterministic", 3), 0)
    shutil.copytree(folder / "models" / "tiny_deterministic", folder / "models" / "once_more")
    tiny.write_phantoms(folder, 1, shape=(24, 20, 10), spacing=(4.0, 4.0, 8.0))
    server = launch(
        [*SERVE, "--models", str(folder / "models"), "--cache", str(folder / "cache")],
        [folder / "images" / "case_0.nii.gz"],
    )
    server.folder = folder
    return server


def test_info_offers_what_may_be_said_beside_boxes_and_points(sam):
    about = sam.http.get("/info/").json()["models"]["my_sam"]
    offered = {option["name"]: option for option in about["run_options"]}
    assert "tiny_deterministic" in offered["prompt_from"]["choices"]
    assert "my_sam" not in offered["prompt_from"]["choices"]
    assert offered["prompt_plane"]["choices"] == ["sagittal", "coronal", "axial"]
    assert (offered["prompt_margin"]["default"], offered["prompt_margin"]["high"]) == (0.1, 1)
    assert "prompt_jitter" in [method["name"] for method in about["methods"]]
    others = sam.http.get("/info/").json()["models"]["tiny_deterministic"]["run_options"]
    assert not [option for option in others if option["name"].startswith("prompt")]


def test_boxes_points_and_models_ask_and_each_has_its_own_result(sam):
    point = {"structure": "background", "voxel": [9, 9, 6]}
    asked = [
        {"prompts": {"boxes": [BOX]}, "prompt_plane": "axial"},
        {"prompts": {"boxes": [BOX], "points": [point]}, "prompt_plane": "axial"},
        {"prompt_from": "tiny_deterministic"},
        {"prompt_region": "organ", "roi": [[8, 21], [8, 19], [6, 7]], "prompt_plane": "axial"},
        {"prompts": {"points": [{"structure": "organ", "voxel": [14, 13, 6]}, point]}},
    ]
    found = [sam.infer("my_sam", "case_0", **params) for params in asked]
    assert [end["state"] for end in found] == ["done"] * 5, found
    risks = [end["result"]["risk"] for end in found]
    assert risks[3]["result"] == risks[0]["result"]  # the same box
    assert len({risk["result"] for risk in risks}) == 4
    assert risks[0]["provenance"]["params"]["prompts"]["boxes"] == [
        {"label": 1, "first": BOX["first"], "last": BOX["last"]}
    ]
    assert risks[4]["provenance"]["params"]["prompts"]["points"] == [
        {"label": 1, "voxel": [14, 13, 6]}, {"label": 0, "voxel": point["voxel"]}
    ]  # fmt: skip
    assert risks[2]["provenance"]["params"]["prompts"]["from"] == "tiny_deterministic"
    label = np.asarray(sam.volume(f"/uncertainty/v1/results/{risks[2]['result']}/label.nii.gz").dataobj)
    other = Predictor(sam.folder / "models" / "tiny_deterministic").predict(sam.studies / "case_0.nii.gz").label
    assert not label[:, :, ~other.any((0, 1))].any()


def test_a_result_names_the_import_that_asked_and_not_its_weights_alone(sam):
    risks = [
        sam.infer("my_sam", "case_0", prompt_from=name)["result"]["risk"]
        for name in ("tiny_deterministic", "once_more", "once_more")
    ]
    assert risks[0]["result"] != risks[1]["result"] == risks[2]["result"]
    assert [risk["provenance"]["params"]["prompts"]["from"] for risk in risks[:2]] == [
        "tiny_deterministic",
        "once_more",
    ]


@pytest.mark.parametrize(
    ("model", "params", "said"),
    [
        ("my_sam", {}, "segments what it is asked for"),
        ("my_sam", {"prompts": {"boxes": [{**BOX, "structure": "liver"}]}}, "has no structure 'liver'"),
        ("my_sam", {"prompts": {"boxes": [{"structure": "organ"}]}}, "params.prompts.boxes.0.first"),
        ("my_sam", {"prompt_region": "organ"}, "there is no region of interest"),
        ("my_sam", {"prompt_from": "nobody"}, "no model 'nobody'"),
        ("my_sam", {"prompt_from": "my_sam"}, "finds none of the structures of my_sam by itself"),
        ("tiny_deterministic", {"prompts": {"boxes": [BOX]}}, "takes no prompts"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_before_anything_runs(model, params, said, sam):
    reply = sam.http.post(f"/infer/{model}?image=case_0&output=json", data={"params": json.dumps(params)})
    assert reply.status_code in (400, 404, 422), reply.text
    assert said in reply.text


def test_a_prompt_outside_of_the_scan_ends_the_run_with_its_reason(sam):
    outside = {"boxes": [{**BOX, "last": [20, 18, 60]}]}
    end = sam.infer("my_sam", "case_0", prompts=outside)
    assert end["state"] == "failed"
    assert "the prompt 20,18,60 lies outside of the image" in json.dumps(end)
