"""Prompt points are voxels of the scan's file, however that is stored."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

_TURN = np.array([[0.8, -0.6, 0.0], [0.48, 0.64, -0.6], [0.36, 0.48, 0.8]])
AFFINES = {
    "upright": np.diag([1.0, 2.0, 3.0]),
    "oblique": _TURN @ np.diag([1.0, 2.0, 3.0]),
    "oblique, mirrored": _TURN @ np.diag([-1.0, 2.0, 3.0]),
    "oblique, in another order": _TURN[:, [2, 0, 1]] @ np.diag([3.0, -1.0, -2.0]),
}


@pytest.mark.parametrize("turn", AFFINES.values(), ids=AFFINES)
def test_a_point_within_a_voxel_is_that_voxel(turn, host, tmp_path):
    import vtk

    from UncertaintySegLib.errors import SceneError
    from UncertaintySegLib.scene import nodes
    from UncertaintySegLib.scene.prompt_points import PromptPoints

    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn, (-20.0, 7.0, 300.0)
    nib.Nifti1Image(np.zeros((7, 8, 9), np.int16), affine).to_filename(tmp_path / "scan.nii.gz")
    scan = nodes.read_volume(host.scene, tmp_path / "scan.nii.gz", "scan")
    told = []
    points = PromptPoints(host.scene, lambda: told.append(True))
    voxels = [[0, 0, 0], [6, 7, 8], [2, 5, 3]]
    random = np.random.default_rng(0)
    for structure, voxel in zip(("organ", "organ", "background"), voxels, strict=True):
        at = nib.affines.apply_affine(affine, voxel + random.uniform(-0.45, 0.45, 3))
        points.list_of("case", structure, (1.0, 0.0, 0.0)).AddControlPoint(vtk.vtkVector3d(*at))
    assert points.counts() == {"organ": 2, "background": 1}
    assert told
    assert points.voxels(scan) == [
        {"structure": structure, "voxel": voxel}
        for structure, voxel in zip(("organ", "organ", "background"), voxels, strict=True)
    ]
    outside = nib.affines.apply_affine(affine, [2, 5, 9])
    points.list_of("case", "organ", (1.0, 0.0, 0.0)).AddControlPoint(vtk.vtkVector3d(*outside))
    with pytest.raises(SceneError, match="A prompt point of organ lies outside of the scan"):
        points.voxels(scan)
    points.remove()
    assert points.counts() == {}
