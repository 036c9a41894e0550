"""Maps that are weighed by what only a whole case knows."""

from __future__ import annotations

import numpy as np
import pytest

from uncertaintyseg.inference.case_scale import scale_cases

SHAPE = (5, 4, 3)


def maps() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {name: random.random(SHAPE).astype(np.float32) for name in ("fused", "measure", "other")}


def test_a_map_gets_the_unbiased_variance_of_another_over_all_voxels():
    found, before = maps(), maps()
    scale_cases(found, {"fused": "measure"}, {"fused": 10.0}, clip=False)
    assert np.allclose(found["fused"], before["fused"] * before["measure"].var(ddof=1))
    assert np.array_equal(found["measure"], before["measure"])
    assert np.array_equal(found["other"], before["other"])


def test_voxels_that_the_model_did_not_see_count_for_nothing():
    found, before = maps(), maps()
    found["valid"] = (np.random.default_rng(1).random(SHAPE) > 0.5).astype(np.float32)
    scale_cases(found, {"fused": "measure"}, {"fused": 10.0}, clip=False)
    assert np.allclose(found["fused"], before["fused"] * before["measure"][found["valid"] > 0].var(ddof=1))


@pytest.mark.parametrize("seen", [False, True])
def test_each_frame_of_a_clip_has_a_number_of_its_own(seen):
    found, before = maps(), maps()
    if seen:
        found["valid"] = np.ones(SHAPE, np.float32)
    scale_cases(found, {"fused": "measure"}, {"fused": 10.0}, clip=True)
    wanted = before["fused"] * before["measure"].var(axis=(0, 1), ddof=1)
    assert np.allclose(found["fused"], wanted)


def test_maps_that_are_not_there_are_left_out_and_values_stay_in_their_range():
    found, before = maps(), maps()
    scale_cases(found, {"fused": "measure", "gone": "other", "other": "gone"}, {"fused": 0.01}, clip=False)
    assert found["fused"].max() <= np.float32(0.01)
    assert np.array_equal(found["other"], before["other"])
    assert set(found) == set(before)


def test_one_voxel_has_no_variance():
    found = {"fused": np.ones((1, 1, 1), np.float32), "measure": np.ones((1, 1, 1), np.float32)}
    scale_cases(found, {"fused": "measure"}, {"fused": 1.0}, clip=False)
    assert found["fused"].max() == 0
