from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import slicer

from UncertaintySegLib.errors import SceneError
from UncertaintySegLib.scene import masks, nodes
from UncertaintySegLib.scene.flipbook import FlipBook


@pytest.fixture
def samples(phantom_case, tmp_path):
    """Three plausible labels in no order: the lesion with more and less around it."""
    image = nib.load(phantom_case.label)
    label = np.asarray(image.dataobj)
    found = []
    for grown, volume in ((2, 30.0), (0, 10.0), (1, 20.0)):
        values = label.copy()
        values[:, :, 11 - grown : 11 + grown + 1] = np.where(label == 0, 0, 2)[:, :, 11 - grown : 11 + grown + 1]
        path = tmp_path / f"sample-{grown}.nii"
        nib.Nifti1Image(values, image.affine).to_filename(path)
        found.append((path, {"organ": volume, "lesion": 1.0}))
    return found


@pytest.fixture
def book(host, shown_case, phantom_case, samples):
    book = FlipBook(host.scene)
    book.show(samples, phantom_case.labels, shown_case.scan)
    return book


def lesion(book, case) -> np.ndarray:
    return masks.structure_mask(book.proxy, 2, case.scan)


def test_pages_come_by_volume_and_after_the_last_comes_the_first(book, shown_case):
    assert book.count == 3
    sizes, volumes = [], []
    for page in range(3):
        book.open(page)
        volumes.append(book.volume_ml)
        sizes.append(int(lesion(book, shown_case).sum()))
    assert volumes == [11.0, 21.0, 31.0]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == 3
    book.open(3)
    assert book.page == 0


def test_it_is_a_real_sequence_in_the_structures_colours(host, book, shown_case):
    sequence = book.browser.GetMasterSequenceNode()
    assert sequence.GetDataNodeClassName() == "vtkMRMLSegmentationNode"
    assert sequence.GetNumberOfDataNodes() == 3
    segment = book.proxy.GetSegmentation().GetNthSegment(0)
    np.testing.assert_allclose(segment.GetColor(), np.array([90, 200, 110]) / 255)


def test_turning_a_page_changes_the_picture_and_not_the_label(host, book, shown_case, phantom_case, tmp_path):
    view = host.slice_view("Red")
    view.fit()
    view.jump_to((nib.load(phantom_case.label).affine @ [26, 20, 13, 1])[:3])
    shown_case.show_map(None)
    pictures = []
    for page in (0, 2):
        book.open(page)
        pictures.append(view.image().astype(int))
    assert (np.abs(pictures[0] - pictures[1]).sum(axis=-1) > 30).sum() > 100
    shown_case.write_label(tmp_path / "out.nii.gz")
    written = np.asarray(nib.load(tmp_path / "out.nii.gz").dataobj)
    np.testing.assert_array_equal(written, np.asarray(nib.load(phantom_case.label).dataobj))


def test_it_goes_with_the_case_and_when_it_is_cleared(host, book, shown_case, phantom_case, samples):
    book.clear()
    assert nodes.marked(host.scene, "flip-book") == []
    assert (book.count, book.page) == (0, 0)
    book.show(samples, phantom_case.labels, shown_case.scan)
    shown_case.clear()
    assert nodes.marked(host.scene) == []
    assert book.count == 0
    book.open(1)


def test_a_broken_page_is_named_and_leaves_nothing(host, shown_case, phantom_case, samples, tmp_path):
    broken = tmp_path / "broken.nii"
    broken.write_bytes(b"nothing")
    book = FlipBook(host.scene)
    with pytest.raises(SceneError, match=r"broken\.nii cannot be read"):
        book.show([*samples, (broken, {"organ": 50.0})], phantom_case.labels, shown_case.scan)
    assert nodes.marked(host.scene, "flip-book") == []
    names = [host.scene.GetNthNode(i).GetName() for i in range(host.scene.GetNumberOfNodes())]
    assert slicer.mrmlScene is host.scene
    assert "phantom_1 plausible" not in names
