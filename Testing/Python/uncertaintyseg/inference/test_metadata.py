"""What a bundle's metadata says of labels: numbers of a data set that are not class ids, and regions of several."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from Testing.Python.uncertaintyseg.segmentation_files import write_segmentation
from uncertaintyseg.data.case_labels import IGNORED, read_case_label
from uncertaintyseg.data.layouts import read_cases
from uncertaintyseg.data.segments import Segment
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.errors import BundleError, InputError
from uncertaintyseg.inference.bundle import METADATA, Bundle, shipped_models
from uncertaintyseg.inference.evaluation import evaluate
from uncertaintyseg.inference.predictors import load_predictor
from uncertaintyseg.training.loading import read_labelled

SHAPE, AFFINE = (24, 24, 24), np.eye(4)


def bundle_with(folder, **said) -> Bundle:
    shutil.copytree(shipped_models() / "hippocampus_deterministic", folder / "model", dirs_exist_ok=True)
    path = folder / "model" / METADATA
    metadata = json.loads(path.read_text(encoding="utf-8"))
    metadata["uncertainty"] |= said
    path.write_text(json.dumps(metadata), encoding="utf-8")
    return Bundle.load(folder / "model")


@pytest.fixture
def data(tmp_path):
    """A data set in which 10 is anterior, 4 posterior, 9 not judged, and 7 nothing to learn."""
    label = np.zeros(SHAPE, np.uint8)
    label[4:8], label[8:12], label[12:16], label[16:18] = 10, 4, 9, 7
    scan = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    for folder, array in (("images", scan), ("labels", label), ("raters", label)):
        path = tmp_path / "data" / folder / ("a.nii.gz" if folder != "raters" else "a_1.nii.gz")
        path.parent.mkdir(parents=True)
        write_volume(path, array, AFFINE)
    return tmp_path / "data"


READING = {"values": {"10": 1, "4": 2, "7": 0}, "ignore": 9}


def test_numbers_of_a_data_set_become_the_models_ids_when_it_learns(tmp_path, data):
    bundle = bundle_with(tmp_path, **READING)
    assert bundle.label_reading == {"ignore": 9, "values": {10: 1, 4: 2, 7: 0}}
    (item,) = read_labelled(bundle, read_cases(data), "training", lambda *_: None)
    counts = dict(zip(*np.unique(np.asarray(item["label"]), return_counts=True), strict=True))
    assert counts[1] == counts[2] == counts[IGNORED] == 4 * 24 * 24


def test_a_label_with_the_models_own_ids_is_read_as_it_is(tmp_path, data):
    """Where the data set has 1 and 2 the other way round, or calls 2 no verdict, our ids stay as they are."""
    label = np.zeros(SHAPE, np.uint8)
    label[4:8], label[8:9] = 1, 2
    write_volume(data / "labels" / "a.nii.gz", label, AFFINE)
    (case,) = read_cases(data)
    for said, swapped in (
        ({"values": {"1": 2, "2": 1}, "ignore": 3}, 2),
        ({"values": {"1": 1, "3": 2}, "ignore": 2}, 1),
    ):
        bundle = bundle_with(tmp_path, **said)
        for ours, first in ((True, 1), (False, swapped)):
            (item,) = read_labelled(bundle, [replace(case, own_ids=ours)], "training", lambda *_: None)
            found = np.asarray(item["label"])
            assert np.count_nonzero(found == first) == 4 * 24 * 24
            assert IGNORED not in found or not ours
            read = read_case_label(replace(case, own_ids=ours), {"anterior": 1, "posterior": 2}, **bundle.label_reading)
            assert (read[0].numpy() == label).all() == ours
    write_volume(data / "labels" / "a.nii.gz", label, AFFINE, names={1: "posterior", 2: "anterior"})
    for ours in (True, False):  # elsewhere names count, whatever the numbers
        read = read_case_label(replace(case, own_ids=ours), {"anterior": 1, "posterior": 2}, **bundle.label_reading)
        assert (read[0].numpy() == (label if ours else np.array([0, 2, 1])[label])).all()


def test_numbers_are_unclear_where_a_class_id_is_something_else_in_the_files(tmp_path):
    assert bundle_with(tmp_path).uncertainty.unclear == []
    assert bundle_with(tmp_path, values={"10": 1, "4": 2}, ignore=9).uncertainty.unclear == []
    assert bundle_with(tmp_path, values={"1": 1, "4": 2}).uncertainty.unclear == []
    assert bundle_with(tmp_path, values={"1": 0, "2": 1}).uncertainty.unclear == [1, 2]
    assert bundle_with(tmp_path, values={"1": 1, "3": 2}, ignore=2).uncertainty.unclear == [2]


def test_segments_that_the_model_leaves_out_are_background_when_it_learns_and_is_judged(tmp_path, data):
    """Where a plan chose structures, its values lead the others to 0."""
    drawn = np.zeros(SHAPE, np.uint8)
    drawn[4:8], drawn[8:12], drawn[12:16] = 1, 2, 3
    (data / "labels" / "a.nii.gz").unlink()
    segments = [Segment("anterior", 1), Segment("lesion", 2), Segment("posterior", 3)]
    write_segmentation(data / "labels" / "a.seg.nrrd", drawn, AFFINE, segments)
    bundle = bundle_with(tmp_path, values={"1": 1, "3": 2, "2": 0})
    (item,) = read_labelled(bundle, read_cases(data), "training", lambda *_: None)
    counts = dict(zip(*np.unique(np.asarray(item["label"]), return_counts=True), strict=True))
    assert (counts[1], counts[2], counts.keys()) == (4 * 24 * 24, 4 * 24 * 24, {0, 1, 2})
    found = evaluate(load_predictor(bundle, "cpu"), [replace(case, raters=()) for case in read_cases(data)])
    assert found["cases"][0]["dice"].keys() == {"anterior", "posterior"}
    with pytest.raises(InputError, match="segment 'lesion' is none of the model's structures"):
        read_labelled(bundle_with(tmp_path, values=None), read_cases(data), "training", lambda *_: None)


def test_they_do_when_it_is_judged(tmp_path, data):
    bundle = bundle_with(tmp_path, **READING)
    (row,) = evaluate(load_predictor(bundle, "cpu"), read_cases(data))["cases"]
    assert row["ignored_voxels"] == 4 * 24 * 24
    assert row["dice"].keys() == {"anterior", "posterior"}


def test_a_number_outside_of_the_map_names_the_file_and_the_number(tmp_path, data):
    bundle = bundle_with(tmp_path, values={"10": 1, "4": 2})
    with pytest.raises(InputError, match=r"a\.nii\.gz: unknown class id 7, 9; known are 0, 4, 10 \(case .*\)"):
        read_labelled(bundle, read_cases(data), "training", lambda *_: None)
    with pytest.raises(InputError, match=r"a\.nii\.gz: unknown class id 7, 9; .*\(case a\)"):
        evaluate(load_predictor(bundle, "cpu"), read_cases(data))


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"values": {"1": 3}}, "id of one of the labels"),
        ({"values": {"-1": 1}}, "id of one of the labels"),
        ({"values": {"x": 1}}, "field 'uncertainty.values"),
        ({"regions": {"whole": [1, 3]}}, "list of ids of the labels"),
        ({"regions": {"whole": []}}, "list of ids of the labels"),
    ],
)
def test_metadata_that_leads_to_no_class_is_refused(tmp_path, said, message):
    with pytest.raises(BundleError, match=message):
        bundle_with(tmp_path, **said)


def test_regions_are_kept(tmp_path):
    assert bundle_with(tmp_path, regions={"whole": [1, 2]}).uncertainty.regions == {"whole": [1, 2]}
