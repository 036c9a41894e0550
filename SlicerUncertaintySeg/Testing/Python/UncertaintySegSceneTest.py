"""What a real Slicer's scene shows of a case; needs no server and no window."""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path

import numpy as np
import slicer

from UncertaintySegLib.scene import sample
from UncertaintySegLib.scene.case import CaseScene
from UncertaintySegLib.server.replies import Label
from UncertaintySegLib.server.results import MapInfo

_LABELS = (Label(1, "organ", (90, 200, 110), "10200004"), Label(2, "lesion", (80, 150, 255)))
_ENTROPY = MapInfo(url="", unit="nats", range=(0.0, 1.0986), source="total")


class UncertaintySegSceneTest(unittest.TestCase):
    """Each test starts from an empty scene."""

    def setUp(self):
        slicer.mrmlScene.Clear(0)
        self._folder = tempfile.TemporaryDirectory()
        self.addCleanup(self._folder.cleanup)
        scan, label = sample.phantom()
        self.label = label
        self.files = {
            "scan": self._file("scan", scan),
            "label": self._file("label", label),
            "risk": self._file("risk", (label == 2).astype(np.float32)),
        }
        self.case = CaseScene(slicer.mrmlScene)
        self.case.show_scan("phantom", self.files["scan"])

    def _file(self, name: str, values: np.ndarray) -> Path:
        """Write values `[K, J, I]` as NRRD, and leave nothing in the scene."""
        path = Path(self._folder.name) / f"{name}.nrrd"
        volume = slicer.util.addVolumeFromArray(values, name=name)
        slicer.util.saveNode(volume, str(path))
        slicer.mrmlScene.RemoveNode(volume)
        return path

    def test_a_label_becomes_named_coloured_segments_with_terminology(self):
        self.case.show_segmentation(self.files["label"], _LABELS, {"model": "phantom"})
        contents = self.case.segmentation.GetSegmentation()
        names = [contents.GetNthSegment(index).GetName() for index in range(contents.GetNumberOfSegments())]
        self.assertEqual(names, ["organ", "lesion"])
        organ = contents.GetSegment(contents.GetSegmentIdBySegmentName("organ"))
        np.testing.assert_allclose(organ.GetColor(), np.array([90, 200, 110]) / 255, atol=1e-6)

    def test_a_map_lies_over_the_scan_in_every_slice_view(self):
        self.case.show_segmentation(self.files["label"], _LABELS, {"model": "phantom"})
        volume = self.case.add_map("predictive_entropy", self.files["risk"], _ENTROPY, {"model": "phantom"})
        self.case.show_map("predictive_entropy")
        composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
        self.assertGreaterEqual(len(composites), 3)
        for composite in composites:
            self.assertEqual(composite.GetForegroundVolumeID(), volume.GetID())
            self.assertEqual(composite.GetBackgroundVolumeID(), self.case.scan.GetID())

    def test_what_is_written_is_what_was_drawn(self):
        self.case.show_segmentation(self.files["label"], _LABELS, {"model": "phantom"})
        written = Path(self._folder.name) / "written.nrrd"
        self.assertEqual(self.case.write_label(written), [])
        volume = slicer.util.loadVolume(str(written), {"labelmap": True})
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(volume), self.label)

    def test_the_sample_scan_and_its_faulty_label_are_on_one_grid(self):
        volume, segmentation = sample.load_phantom()
        organ = segmentation.GetSegmentation().GetSegmentIdBySegmentName("organ")
        mask = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, organ, volume)
        self.assertEqual(mask.shape, slicer.util.arrayFromVolume(volume).shape)
        missing = (self.label == 1) & (mask == 0)
        self.assertGreater(missing.sum(), 100)

    def test_clearing_a_case_leaves_nothing_of_it(self):
        before = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
        self.case.show_segmentation(self.files["label"], _LABELS, {"model": "phantom"})
        self.case.add_map("predictive_entropy", self.files["risk"], _ENTROPY, {"model": "phantom"})
        self.case.clear()
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode"), before - 1)
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode"), 0)


if __name__ == "__main__":
    unittest.main()
