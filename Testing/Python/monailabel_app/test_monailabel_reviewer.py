"""What MONAILabelReviewer asks, as it asks it, and what it reads of the answers.

Lines are those of `plugins/slicer/MONAILabelReviewer/MONAILabelReviewerLib` at 058ddfc4 of Project-MONAI/MONAILabel.
"""

from __future__ import annotations

import gzip
import json
import time

import nibabel as nib
import numpy as np
import pytest
import requests

from Testing.Python.monailabel_app.test_labels import names_of
from Testing.Python.monailabel_app.test_ownership import label_of, save, versions
from Testing.Python.uncertaintyseg.segmentation_files import write_segmentation
from uncertaintyseg.data.segments import Segment
from uncertaintyseg.tokens import Role

META = ("status", "approvedBy", "level", "comment", "editTime")  # SegmentationMeta.py 97-107


class Module:
    """The client of that module."""

    def __init__(self, url: str) -> None:
        self.url = url

    def records(self) -> dict:
        """MonaiServerREST.py 37-53."""
        response = requests.get(f"{self.url}/datastore/?output=all", timeout=5)
        assert response.status_code == 200
        return response.json()["objects"]  # JsonParser.py 201

    def review(self, image: str, tag: str, **meta) -> requests.Response:
        """MonaiServerREST.py 106-142; the form field is `params`."""
        params = json.dumps({"segmentationMeta": {**dict.fromkeys(META, ""), **meta}})
        headers = {"Content-Type": "application/x-www-form-urlencoded", "accept": "application/json"}
        url = f"{self.url}/datastore/updatelabelinfo?label={image}&tag={tag}"
        return requests.put(url, headers=headers, data={"params": params})

    def save(self, image: str, file, tag: str, params: dict) -> requests.Response:
        """MonaiServerREST.py 144-175: a form beside a file that is named after the case."""
        with file.open("rb") as opened:
            url = f"{self.url}/datastore/label?image={image}&tag={tag}"
            files = {"label": (image + ".nrrd", opened)}
            return requests.put(url, data={"params": json.dumps(params)}, files=files)


def read(record: dict) -> dict[str, dict]:
    """The reviews of an image by tag as JsonParser.py 102-145 and SegmentationMeta.py 45-55 read them, or fail to."""
    assert isinstance(record["image"]["info"]["name"], str)
    found = {}
    for tag, label in record["labels"].items():
        meta = label["info"].get("segmentationMeta") or {}
        if meta:
            found[tag] = {name: meta[name] for name in META}
            assert tag in ("final", "original") or int(tag[tag.index("_") + 1 :]) >= 0
    return found


@pytest.fixture
def module(server) -> Module:
    assert requests.get(server.url, timeout=5).status_code == 200  # MonaiServerREST.py 85-104
    return Module(server.url)


@pytest.fixture
def edited(server, image, saved_label, tmp_path):
    """Saves a segmentation of Slicer's as that module does, under a version's tag."""
    second, first = names_of(server)[1::-1]
    values = np.array([0, 2, 1], np.uint8)[np.asarray(nib.load(saved_label).dataobj)]
    path = tmp_path / "edited.nrrd"
    write_segmentation(path, values, nib.load(saved_label).affine, [Segment(second, 1), Segment(first, 2)])
    made = []

    def save(module: Module, tag: str, **meta) -> requests.Response:
        made.append(tag)
        known = module.records()[image]["labels"]["final"]["info"]["label_info"]  # ImageData.py 273-282
        return module.save(image, path, tag, {"label_info": known, "segmentationMeta": meta})

    yield save
    for tag in made:
        server.http.delete(f"/datastore/label?id={image}&tag={tag}")


def test_a_review_is_kept_with_the_servers_time_and_the_name_that_was_said_as_not_verified(
    server, module, image, saved_label
):
    before = int(time.time())
    said = {"status": "approved", "approvedBy": "Dr. A", "level": "hard", "comment": "thin wall", "editTime": 5}
    assert module.review(image, "final", **said).status_code == 200
    kept = read(module.records()[image])["final"]
    assert {**kept, "editTime": 5} == said
    assert before <= kept["editTime"] <= time.time()
    assert module.records()[image]["labels"]["final"]["info"]["segmentationMeta"]["verified"] is False
    [version] = [one for one in versions(server.http, image) if one["counts"]]
    assert (version["review"]["status"], version["review"]["approved_by"]) == ("approved", "Dr. A")


def test_that_module_sees_who_annotated_what_and_counts_the_case_as_segmented(server, module, image, saved_label):
    assert server.put_label(image, saved_label, client_id="anna", model=server.baseline).status_code == 200
    info = module.records()[image]["labels"]["final"]["info"]  # JsonParser.py 62-83, 165-172
    assert info["client_id"] == "anna"
    assert info["label_info"] == [{"name": name, "idx": idx} for idx, name in enumerate(names_of(server)[:2], 1)]


def test_an_edited_version_lies_under_its_own_tag_with_its_own_review(server, module, image, saved_label, edited):
    meta = {"status": "", "approvedBy": "Dr. B", "level": "easy", "comment": "", "editTime": int(time.time())}
    for number in (10, 2):
        assert edited(module, f"version_{number}", **meta).status_code == 200
    record = module.records()[image]
    assert list(record["labels"]) == ["final", "version_2", "version_10"]  # the last is the newest: ImageData.py 365
    assert read(record)["version_2"]["level"] == "easy"
    answer = requests.get(f"{module.url}/datastore/label?label={image}&tag=version_10", timeout=5)
    stored = nib.Nifti1Image.from_bytes(gzip.decompress(answer.content))
    np.testing.assert_array_equal(stored.dataobj, nib.load(saved_label).dataobj)
    # ImageDataController.py 179-189: approving one takes the approval from the others
    assert module.review(image, "version_2", status="approved", approvedBy="Dr. B").status_code == 200
    assert module.review(image, "final", status="", approvedBy="Dr. A").status_code == 200
    assert {tag: meta["status"] for tag, meta in read(module.records()[image]).items()} == {
        "final": "", "version_2": "approved", "version_10": "",
    }  # fmt: skip
    url = f"{module.url}/datastore/label?id={image}&tag=version_10"  # MonaiServerREST.py 177-198
    assert requests.delete(url, timeout=5).status_code == 200


@pytest.mark.parametrize(
    ("meta", "word"),
    [
        ({"status": "fine"}, "status"),
        ({"level": 3}, "level"),
        ({"comment": "x" * 10_001}, "comment"),
        ("approved", "object"),
    ],
)
def test_a_review_that_makes_no_sense_is_refused_and_the_one_before_stays(
    server, module, image, saved_label, meta, word
):
    assert module.review(image, "final", status="flagged", comment="leak").status_code == 200
    before = module.records()[image]
    body = {"params": json.dumps({"segmentationMeta": meta})}
    answer = requests.put(f"{module.url}/datastore/updatelabelinfo?label={image}&tag=final", data=body)
    assert (answer.status_code, word in answer.json()["detail"]) == (400, True)
    assert module.records()[image] == before


def test_a_new_label_is_to_be_reviewed_again_and_the_old_version_keeps_its_review(server, module, image, saved_label):
    assert module.review(image, "final", status="approved", approvedBy="Dr. A").status_code == 200
    assert server.put_label(image, saved_label).status_code == 200
    assert "final" not in read(module.records()[image])
    old, new = versions(server.http, image)[-2:]
    assert (old["review"]["status"], new["review"]) == ("approved", None)
    server.http.post(f"/uncertainty/v1/cases/{image}/versions/{old['id']}/restore")
    assert versions(server.http, image)[-1]["review"] is None


def test_only_a_reviewer_approves_and_the_name_is_that_of_the_token(guarded, image):
    annotator, reviewer = guarded.clients["annotator"], guarded.clients["reviewer"]
    assert save(annotator, image, label_of(guarded, image, 1)).status_code == 200

    def review(client, **meta):
        body = {"info": json.dumps({"segmentationMeta": meta})}
        return client.put(f"/datastore/label/info?label={image}&tag=final", data=body)

    def kept() -> dict:
        return annotator.get(f"/datastore/label/info?label={image}&tag=final").json()["segmentationMeta"]

    assert review(annotator, status="flagged", comment="unsure", approvedBy="the chief").status_code == 200
    assert (kept()["status"], kept()["approvedBy"], kept()["verified"]) == ("flagged", "annotator-person", True)
    assert review(annotator, status="approved").status_code == 403
    assert (
        save(annotator, image, label_of(guarded, image, 1), segmentationMeta={"status": "approved"}).status_code == 403
    )
    number = versions(annotator, image)[-1]["id"]
    assert review(reviewer, status="approved", version=number - 1).status_code == 409
    assert review(reviewer, status="approved", version=number, approvedBy="somebody").status_code == 200
    assert (kept()["status"], kept()["approvedBy"]) == ("approved", "reviewer-person")
    assert review(annotator, comment="mine").status_code == 403
    line = guarded.lines("label_info")[-1]
    assert (line["who"], line["status"], line["reviewer"]) == ("reviewer-person", "approved", "reviewer-person")
    [row] = [row for row in annotator.get("/uncertainty/v1/cases").json()["cases"] if row["id"] == image]
    assert (row["final"]["made_by"], row["final"]["mine"]) == ("annotator-person", True)
    assert row["final"]["review"]["status"] == "approved"


def test_a_reviewer_reviews_the_draft_of_another_but_not_a_tag_that_the_module_cannot_read(guarded, image):
    annotator, reviewer = guarded.clients["annotator"], guarded.clients["reviewer"]
    meta = {"info": json.dumps({"segmentationMeta": {"status": "flagged"}})}
    for tag, status in (("version_1", 200), ("draft", 400)):
        assert save(annotator, image, label_of(guarded, image, 1), tag).status_code == 200
        answer = reviewer.put(f"/datastore/label/info?label={image}&tag={tag}", data=meta)
        assert answer.status_code == status, answer.text
        assert annotator.delete(f"/datastore/label?id={image}&tag={tag}").status_code == 200


def test_the_roles_are_steps():
    assert [role.name for role in sorted(Role)] == ["viewer", "annotator", "reviewer", "trainer", "admin"]
