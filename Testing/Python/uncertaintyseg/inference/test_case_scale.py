"""Maps that are weighed by what only a whole case knows."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.inference.case_scale import scale_cases
from uncertaintyseg.inference.predictor import Predictor

SHAPE = (5, 4, 3)


def maps() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {name: random.random(SHAPE).astype(np.float32) for name in ("fused", "measure", "other")}


def test_a_map_gets_the_unbiased_variance_of_another_over_all_voxels():
    found, before = maps(), maps()
    scale_cases(found, {"fused": "measure"}, clip=False)
    assert np.allclose(found["fused"], before["fused"] * before["measure"].var(ddof=1))
    assert np.array_equal(found["measure"], before["measure"])
    assert np.array_equal(found["other"], before["other"])


def test_voxels_that_the_model_did_not_see_count_for_nothing():
    found, before = maps(), maps()
    found["valid"] = (np.random.default_rng(1).random(SHAPE) > 0.5).astype(np.float32)
    scale_cases(found, {"fused": "measure"}, clip=False)
    assert np.allclose(found["fused"], before["fused"] * before["measure"][found["valid"] > 0].var(ddof=1))


@pytest.mark.parametrize("seen", [False, True])
def test_each_frame_of_a_clip_has_a_number_of_its_own(seen):
    found, before = maps(), maps()
    if seen:
        found["valid"] = np.ones(SHAPE, np.float32)
    scale_cases(found, {"fused": "measure"}, clip=True)
    wanted = before["fused"] * before["measure"].var(axis=(0, 1), ddof=1)
    assert np.allclose(found["fused"], wanted)


def test_maps_that_are_not_there_are_left_out_and_the_numbers_are_told():
    found, before = maps(), maps()
    told = scale_cases(found, {"fused": "measure", "gone": "other", "other": "gone"}, clip=False)
    assert told == {"fused": pytest.approx(before["measure"].var(ddof=1), rel=1e-5)}
    assert np.array_equal(found["other"], before["other"])
    assert set(found) == set(before)


def test_one_voxel_has_no_variance():
    found = {"fused": np.ones((1, 1, 1), np.float32), "measure": np.ones((1, 1, 1), np.float32)}
    scale_cases(found, {"fused": "measure"}, clip=False)
    assert found["fused"].max() == 0


def test_a_prediction_has_the_maps_of_its_head_weighed_by_the_case(phantoms, tmp_path):
    few = np.asarray(nib.load(phantoms / "images" / "case_0.nii.gz").dataobj)[8:24, 8:24, 4:12]
    write_volume(tmp_path / "scan.nii.gz", few, np.diag([*tiny.SPACING, 1.0]))
    path = tiny.write_bundle(tmp_path, "l_fusion", window=(16, 16, 8), passes=3, rank=2)
    predictor = Predictor(tiny.give_random_weights(path))
    found = predictor.predict(tmp_path / "scan.nii.gz", samples=2)
    head, image = predictor.network.head, predictor.preprocessing({"image": tmp_path / "scan.nii.gz"})["image"]
    with torch.inference_mode():
        maps = head(predictor.network.extract(image.as_tensor()[None])[0]).maps
    for name, by in head.scaled_by.items():
        scale = found.maps[by].var(ddof=1, dtype=np.float64)
        assert np.allclose(found.maps[name], maps[name][0, 0].numpy() * scale, rtol=1e-3, atol=1e-7), name
        assert by in found.map_info[name].description
        assert found.map_info[name].range[1] == pytest.approx(scale * head.extra_maps()[name].range[1], rel=1e-5)
    found.save(tmp_path / "out")
    stored = nib.load(tmp_path / "out" / "l_fusion_uncertainty.nii.gz").get_fdata()
    own = found.maps["l_fusion_uncertainty"]
    assert np.abs(stored - own).max() < 1e-2 * own.max(), "stored in steps that are fine enough"
    tta = Predictor(predictor.bundle, method="tta").predict(tmp_path / "scan.nii.gz")
    assert not set(head.scaled_by) & set(tta.maps)
