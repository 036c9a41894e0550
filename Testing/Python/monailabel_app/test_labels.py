"""Labels that people save: checked first, replaced whole."""

from __future__ import annotations

import gzip
import json

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from monailabel.client.client import MONAILabelClient

from Testing.Python.uncertaintyseg.segmentation_files import write_segmentation
from uncertaintyseg.data.case_labels import read_case_label
from uncertaintyseg.data.layouts import Case
from uncertaintyseg.data.segments import Segment, segments_in


@pytest.fixture
def stored(server, image):
    return server.studies / "labels" / "final" / f"{image}.nii.gz"


@pytest.fixture(scope="module")
def any_label(server, image, tmp_path_factory) -> bytes:
    """A label that would fit `image`."""
    scan = nib.load(server.studies / f"{image}.nii.gz")
    return gzip.compress(nib.Nifti1Image(np.ones(scan.shape, np.uint8), scan.affine).to_bytes())


@pytest.fixture
def bad_label(saved_label, tmp_path):
    """Writes a label that differs from the good one in one way."""

    def write(change) -> object:
        good = nib.load(saved_label)
        values, affine = change(np.asarray(good.dataobj).copy(), good.affine.copy())
        path = tmp_path / "bad.nii.gz"
        nib.Nifti1Image(values, affine).to_filename(path)
        return path

    return write


def unknown_class(values, affine):
    values[0, 0, 0] = 7
    return values, affine


def other_shape(values, affine):
    return values[:-1], affine


def moved(values, affine):
    affine[0, 3] += 25
    return values, affine


def probabilities(values, affine):
    return values.astype(np.float32) / 3, affine


@pytest.mark.parametrize(
    ("change", "word"),
    [(unknown_class, "7"), (other_shape, "grid"), (moved, "grid"), (probabilities, "whole numbers")],
)
def test_a_wrong_label_is_refused_and_the_saved_one_stays(server, image, stored, bad_label, change, word):
    before, record = stored.read_bytes(), server.http.get(f"/datastore/label/info?label={image}&tag=final").json()
    answer = server.put_label(image, bad_label(change))
    assert answer.status_code == 400
    assert word in answer.json()["detail"]
    assert "bad.nii.gz" in answer.json()["detail"]
    assert stored.read_bytes() == before
    assert server.http.get(f"/datastore/label/info?label={image}&tag=final").json() == record


def test_a_file_that_is_no_image_is_refused_and_the_saved_one_stays(server, image, saved_label, stored, tmp_path):
    before = stored.read_bytes()
    path = tmp_path / "text.nii.gz"
    path.write_bytes(gzip.compress(b"not an image"))
    answer = server.put_label(image, path)
    assert answer.status_code == 400
    assert "text.nii.gz" in answer.json()["detail"]
    assert stored.read_bytes() == before


def test_a_label_cut_short_is_refused_and_the_saved_one_stays(server, image, saved_label, stored, tmp_path):
    before = stored.read_bytes()
    path = tmp_path / "cut.nii.gz"
    path.write_bytes(saved_label.read_bytes()[:100])
    answer = server.put_label(image, path)
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("cut.nii.gz: not a readable NIfTI file")
    assert stored.read_bytes() == before


def saved_files(server) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in server.studies.parent.rglob("*.nii.gz")}


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.text(min_size=1, max_size=60), st.from_regex(r"(\.\./|/)+[a-z./]{1,30}", fullmatch=True)))
@example("../x")
@example("/etc/passwd")
@example("labels/final/x")
@example("a\x00b")
@example("Übersicht Knie")
@example("x" * 5000)
def test_no_text_but_an_id_or_a_plain_tag_saves_a_label(server, image, saved_label, any_label, text):
    before = saved_files(server)
    answers = [server.http.put("/datastore/label", params={"image": text}, files={"label": ("l.nii.gz", any_label)})]
    if not text[0].isalnum() or "/" in text:
        params = {"image": image, "tag": text}
        answers += [server.http.put("/datastore/label", params=params, files={"label": ("l.nii.gz", any_label)})]
    for answer in answers:
        assert answer.status_code in (400, 404), answer.text
        assert isinstance(answer.json()["detail"], str)
    assert saved_files(server) == before


@pytest.mark.parametrize("model", ["spleen", ["spleen"], {}, 5])
def test_an_unknown_model_in_params_saves_nothing(server, image, saved_label, stored, model):
    before = stored.read_bytes()
    answer = server.put_label(image, saved_label, model=model)
    assert answer.status_code == 404
    assert server.baseline in answer.json()["detail"]
    assert stored.read_bytes() == before


def test_an_unknown_image_or_a_path_as_tag_saves_nothing(server, image, saved_label):
    assert server.put_label("nobody", saved_label).status_code == 404
    with saved_label.open("rb") as file:
        answer = server.http.put(f"/datastore/label?image={image}&tag=../../out", files={"label": file})
    assert answer.status_code == 400
    assert not (server.studies.parent / "out").exists()


def test_the_stock_client_saves_and_reads_back_the_same_voxels(server, image, saved_label, tmp_path):
    client = MONAILabelClient(server.url, tmpdir=str(tmp_path))
    assert client.save_label(image, str(saved_label), tag="final", params={"reviewer": "a"})["label"] == image
    back = nib.load(client.download_label(image, "final"))
    np.testing.assert_array_equal(np.asarray(back.dataobj), np.asarray(nib.load(saved_label).dataobj))
    assert back.get_data_dtype() == np.uint8
    assert server.http.get(f"/datastore/label/info?label={image}&tag=final").json()["reviewer"] == "a"


def swapped(saved_label) -> tuple[np.ndarray, np.ndarray]:
    """The saved label with its two numbers swapped, and its affine."""
    good = nib.load(saved_label)
    return np.array([0, 2, 1], np.uint8)[np.asarray(good.dataobj)], good.affine


def names_of(server) -> list[str]:
    labels = server.http.get("/info/").json()["models"][server.baseline]["labels"]
    return sorted(labels, key=labels.get)


@pytest.mark.parametrize("number", ["idx", "segmentIndex"])
def test_names_that_the_stock_clients_send_count_and_numbers_do_not(
    server, image, saved_label, stored, tmp_path, number
):
    first, second = names_of(server)[:2]
    values, affine = swapped(saved_label)
    path = tmp_path / "swapped.nii.gz"
    nib.Nifti1Image(values, affine).to_filename(path)
    client = MONAILabelClient(server.url, tmpdir=str(tmp_path))
    info = [{"name": second, number: 1}, {"name": first, number: 2}]
    client.save_label(image, str(path), tag="final", params={"label_info": info})
    np.testing.assert_array_equal(nib.load(stored).dataobj, nib.load(saved_label).dataobj)
    lone = np.where(values == 1, 1, 0).astype(np.uint8)
    nib.Nifti1Image(lone, affine).to_filename(path)
    client.save_label(image, str(path), tag="final", params={"label_info": info[:1]})
    np.testing.assert_array_equal(nib.load(stored).dataobj, 2 * lone)
    before = stored.read_bytes()
    answer = server.put_label(image, path, label_info=[{"name": "tumour", number: 1}])
    assert answer.status_code == 400
    assert "segment 'tumour' is none of the model's structures" in answer.json()["detail"]
    assert stored.read_bytes() == before


def test_a_saved_label_is_read_by_its_names_wherever_it_is_taken_to(server, image, saved_label, stored):
    first, second = names_of(server)[:2]
    assert server.put_label(image, saved_label, model=server.baseline).status_code == 200
    assert {segment.name: segment.value for segment in segments_in(stored)}.items() >= {first: 1, second: 2}.items()
    scan = server.studies / f"{image}.nii.gz"
    elsewhere = read_case_label(Case(image, scan, stored), {first: 1, second: 2}, values={1: 2, 2: 1})
    np.testing.assert_array_equal(elsewhere[0].numpy(), np.asarray(nib.load(saved_label).dataobj))


def test_a_segmentation_that_slicer_saves_goes_by_its_own_names(server, image, saved_label, stored, tmp_path):
    first, second = names_of(server)[:2]
    values, affine = swapped(saved_label)
    path = tmp_path / "label.seg.nrrd"
    segments = [Segment(second, 1), Segment(first, 2)]
    info = [{"name": first, "idx": 1}, {"name": second, "idx": 2}]
    write_segmentation(path, values, affine, segments)
    assert server.put_label(image, path, label_info=info).status_code == 200
    np.testing.assert_array_equal(nib.load(stored).dataobj, nib.load(saved_label).dataobj)
    low = np.argwhere(values).min(axis=0)
    cropped = affine.copy()
    cropped[:3, 3] += affine[:3, :3] @ low
    part = values[tuple(slice(start, None) for start in low)]
    layers = np.stack([part == 1, part == 2]).astype(np.uint8)
    write_segmentation(path, layers, cropped, [Segment(second, 1, 0), Segment(first, 1, 1)])
    assert server.put_label(image, path).status_code == 200
    np.testing.assert_array_equal(nib.load(stored).dataobj, nib.load(saved_label).dataobj)


def test_a_label_in_another_format_and_orientation_lands_on_the_scans_grid(
    server, image, saved_label, stored, tmp_path
):
    flipped = sitk.Flip(sitk.ReadImage(str(saved_label)), [True, False, False], False)
    path = tmp_path / "label.nrrd"
    sitk.WriteImage(flipped, str(path))
    assert server.put_label(image, path).status_code == 200
    scan, label = nib.load(server.studies / f"{image}.nii.gz"), nib.load(stored)
    np.testing.assert_allclose(label.affine, scan.affine, atol=1e-4)
    np.testing.assert_array_equal(np.asarray(label.dataobj), np.asarray(nib.load(saved_label).dataobj))
    assert [p.name for p in stored.parent.iterdir()] == [stored.name]


def test_the_exported_records_are_whole_and_know_the_label(server, image, saved_label):
    exported = server.studies / "datastore_v2.json"
    server.wait_until(lambda: "final" in json.loads(exported.read_text(encoding="utf-8"))["objects"][image]["labels"])
    records = json.loads(exported.read_text(encoding="utf-8"))
    assert records["objects"][image]["labels"]["final"]["info"]["name"] == f"{image}.nii.gz"
    assert server.http.get("/info/").json()["datastore"]["completed"] == 1
