from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import slicer

from Testing.Python.SlicerUncertaintySeg.conftest import riskiest_place, write_scaled_map
from UncertaintySegLib.scene import segments
from UncertaintySegLib.scene.boundaries import Boundaries
from UncertaintySegLib.server.results import MapInfo


@pytest.fixture
def probability(shown_case, phantom_case, tmp_path):
    """How probable the organ is: falls from 1 to 0 across its border."""
    image = nib.load(phantom_case.label)
    i, j, k = np.indices(image.shape)
    offset = np.stack([i - 26, j - 20, k - 11], axis=-1) * np.linalg.norm(image.affine[:3, :3], axis=0)
    values = 1 / (1 + np.exp(np.linalg.norm(offset, axis=-1) - 16))
    write_scaled_map(tmp_path / "p.nii.gz", values, image.affine, 1.0)
    info = MapInfo("", "1", (0.0, 1.0), "total")
    return shown_case.add_map("probability_organ", tmp_path / "p.nii.gz", info, {})


def test_the_least_and_the_most_are_where_the_probability_passes_the_levels(host, shown_case, probability):
    boundaries = Boundaries(host.scene)
    least, most = boundaries.show("organ", (0.2, 0.8, 0.4), probability, (0.05, 0.95))
    values = slicer.util.arrayFromVolume(probability)
    for segment_id, level in (("at least", 0.95), ("at most", 0.05)):
        found = slicer.util.arrayFromSegmentBinaryLabelmap(boundaries.segmentation, segment_id, shown_case.scan)
        np.testing.assert_array_equal(found.astype(bool), values >= level)
    voxel = np.prod(probability.GetSpacing()) / 1000
    assert (least, most) == pytest.approx(((values >= 0.95).sum() * voxel, (values >= 0.05).sum() * voxel))


def test_the_outlines_lie_around_each_other_in_the_views_and_are_never_exported(
    host, shown_case, probability, phantom_case, tmp_path
):
    view = host.slice_view("Red")
    view.fit()
    view.jump_to(riskiest_place(shown_case))
    shown_case.show_map(None)
    shown_case.segmentation.GetDisplayNode().SetVisibility(False)
    before = view.image().astype(int)
    boundaries = Boundaries(host.scene)
    boundaries.show("organ", (0.2, 0.8, 0.4), probability, (0.05, 0.95))
    after = view.image().astype(int)
    changed = np.abs(after - before).sum(axis=-1) > 20
    assert 300 < changed.sum() < 8000, "thin lines"
    boundaries.show("organ", (0.2, 0.8, 0.4), probability, (0.3, 0.7))
    narrower = np.abs(view.image().astype(int) - before).sum(axis=-1) > 20
    assert np.ptp(np.argwhere(narrower)[:, 1]) < np.ptp(np.argwhere(changed)[:, 1])
    assert list(segments.colors_by_id(shown_case.segmentation)) == [1, 2]
    shown_case.write_label(tmp_path / "out.nii.gz")
    written = np.asarray(nib.load(tmp_path / "out.nii.gz").dataobj)
    np.testing.assert_array_equal(written, np.asarray(nib.load(phantom_case.label).dataobj))
    boundaries.clear()
    np.testing.assert_array_equal(view.image().astype(int), before)
