"""Segmentations that Slicer's own code saves are read by their names, in layers and cropped."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import vtk

from Testing.Python.uncertaintyseg.segmentation_files import write_segmentation
from uncertaintyseg.data.case_labels import read_case_label
from uncertaintyseg.data.layouts import Case
from uncertaintyseg.data.nrrd import read_nrrd, read_pairs
from uncertaintyseg.data.scan import read_scan
from uncertaintyseg.data.segments import segments_in
from uncertaintyseg.data.writing import write_volume

IDS = {"far": 1, "tumour": 2, "kidney": 3}
BOXES = {"kidney": np.s_[10:20, 12:20, 5:25], "tumour": np.s_[15:25, 12:18, 10:20], "far": np.s_[30:35, 30:40, 40:50]}


@pytest.fixture
def segmentation(host, ramp):
    """Of which the tumour lies over a part of the kidney; arrays of Slicer are `[K, J, I]`."""
    node = host.scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.SetReferenceImageGeometryParameterFromVolumeNode(ramp)
    for name, box in BOXES.items():
        mask = np.zeros(slicer.util.arrayFromVolume(ramp).shape, np.uint8)
        mask[box] = 1
        segment = node.GetSegmentation().AddEmptySegment("", name)
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, segment, ramp)
    return node


def grid_of(volume):
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return matrix


def save(host, node, path, *, cropped=False):
    storage = slicer.vtkMRMLSegmentationStorageNode()
    host.scene.AddNode(storage)
    storage.SetCropToMinimumExtent(cropped)
    storage.SetFileName(str(path))
    assert storage.WriteData(node)


@pytest.mark.parametrize("cropped", [False, True])
def test_a_segmentation_of_slicer_is_read_by_names_from_layers_onto_the_scan(
    host, ramp, segmentation, tmp_path, cropped
):
    affine = slicer.util.arrayFromVTKMatrix(grid_of(ramp))
    write_volume(tmp_path / "scan.nii.gz", slicer.util.arrayFromVolume(ramp).T, affine)
    save(host, segmentation, tmp_path / "scan.seg.nrrd", cropped=cropped)
    scan = read_scan(tmp_path / "scan.nii.gz")
    wanted = np.zeros(slicer.util.arrayFromVolume(ramp).shape, np.uint8)
    for name, box in BOXES.items():
        wanted[box] = IDS[name]
    label = read_case_label(Case("scan", tmp_path / "scan.nii.gz", tmp_path / "scan.seg.nrrd"), IDS, like=scan)
    np.testing.assert_array_equal(label[0].numpy(), wanted.T)
    found = read_nrrd(tmp_path / "scan.seg.nrrd").array.shape
    assert found == ((2, 45, 28, 25) if cropped else (2, 60, 50, 40))


def test_what_the_tests_write_is_what_slicer_writes(host, segmentation, tmp_path):
    save(host, segmentation, tmp_path / "theirs.seg.nrrd")
    array, affine, _ = read_nrrd(tmp_path / "theirs.seg.nrrd")
    write_segmentation(tmp_path / "ours.seg.nrrd", array, affine, segments_in(tmp_path / "theirs.seg.nrrd"))
    theirs, ours = (read_pairs(tmp_path / f"{name}.seg.nrrd") for name in ("theirs", "ours"))
    assert ours.keys() <= theirs.keys()
    for kind in ("Name", "LabelValue", "Layer"):
        assert [ours[f"Segment{i}_{kind}"] for i in range(3)] == [theirs[f"Segment{i}_{kind}"] for i in range(3)]
    again = host.scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    storage = slicer.vtkMRMLSegmentationStorageNode()
    host.scene.AddNode(storage)
    storage.SetFileName(str(tmp_path / "ours.seg.nrrd"))
    assert storage.ReadData(again)
    contents = again.GetSegmentation()
    assert [contents.GetNthSegment(i).GetName() for i in range(3)] == list(BOXES)
