"""What only a real Slicer with a window can show: each risk of docs/extension.md that a program can look at.

Needs no server. A case with a result is made on the spot, in the panel as the user has it.
"""

from __future__ import annotations

import tempfile
import time
import unittest
from collections import Counter
from pathlib import Path
from unittest import mock

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from UncertaintySegLib.logic import keyboard
from UncertaintySegLib.scene import nodes, sample, snapshots
from UncertaintySegLib.server.replies import Sample
from UncertaintySegLib.server.results import parse_result
from UncertaintySegLib.server.worker_client import WorkerClient

_MAP = "error_probability"
_WIDEST = 560  # pixels of the panel at 96 dots an inch; a wider one needs a scroll bar beside most layouts


class UncertaintySegDesktopTest(unittest.TestCase):
    """Each test begins with the module open and a result in it."""

    def setUp(self):
        if slicer.util.mainWindow() is None:
            self.skipTest("Slicer runs without a main window")
        slicer.mrmlScene.Clear(0)
        slicer.util.selectModule("UncertaintySeg")
        self.panel = slicer.modules.uncertaintyseg.widgetRepresentation().self().panel
        self.session = self.panel.session
        self.addCleanup(slicer.mrmlScene.Clear, 0)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self._show_result()

    def test_the_fill_stays_in_the_views_when_the_segment_editor_gets_its_segmentation(self):
        selection, editor = self.panel.sections["Selection"].ui, self.panel.sections["Edit"].editor
        self.session.scene.show_map(None)
        self.session.scene.segmentation.GetDisplayNode().SetVisibility(False)
        selection.overlayOpacitySlider.value = 1.0
        selection.fillCheckBox.setChecked(True)
        self.addCleanup(selection.fillCheckBox.setChecked, False)
        shares = self._filled()
        self.assertGreater(min(shares), 0.001)
        own = editor.segmentationNode()
        self.assertIs(own, self.session.scene.segmentation)
        editor.setSegmentationNode(None)
        editor.setSegmentationNode(own)
        np.testing.assert_allclose(self._filled(), shares, atol=0.002)
        selection.reviewThresholdSlider.value = 0.9
        self.assertLess(max(self._filled()), min(shares))

    def test_no_key_is_anothers_too(self):
        window = slicer.util.mainWindow()
        owners = Counter()
        for shortcut in slicer.util.findChildren(window, className="QShortcut"):
            if shortcut.enabled and shortcut.context != 0:  # those of one widget work only where that has the focus
                owners[shortcut.key.toString()] += 1
        for action in slicer.util.findChildren(window, className="QAction"):
            if action.enabled and action.visible:
                owners[action.shortcut.toString()] += 1
        ours = {sequence for key in keyboard.KEYS for sequence in key.sequences}
        self.assertTrue(ours & owners.keys(), "the panel has set no shortcut")
        self.assertEqual({key: owners[key] for key in ours if owners[key] > 1}, {})

    def test_the_embedded_editor_adopts_no_segmentation_of_the_users_own(self):
        editor = self.panel.sections["Edit"].editor
        own = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "A")
        self._batch()
        self.assertIs(editor.segmentationNode(), self.session.scene.segmentation)
        self.session.close_case()
        self._batch()
        self.assertIsNone(editor.segmentationNode())
        self.assertEqual(own.GetSegmentation().GetNumberOfSegments(), 0)
        self.assertIsNone(own.GetDisplayNode())  # an editor makes one for what it edits

    def test_a_pdf_has_its_picture_and_its_pages(self):
        from UncertaintySegLib.panel import report_pdf

        noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        picture = self.folder / "noise.png"
        self._png(noise, picture)
        image = f'<img src="{picture.as_uri()}" width="300" height="300">'
        file = self.folder / "report.pdf"
        self.assertTrue(report_pdf.write(f"<h1>Report</h1>{image}" + "<p>line</p>" * 120, file))
        data = file.read_bytes()
        self.assertTrue(data.startswith(b"%PDF"))
        self.assertGreaterEqual(data.count(b"/Type /Page\n") or data.count(b"/Type/Page"), 2)
        self.assertIn(b"/Image", data)

    def test_the_child_process_starts_answers_and_ends(self):
        worker, ended = WorkerClient(), []
        self.addCleanup(worker.close)
        server = {"url": "http://127.0.0.1:9", "token": ""}
        arguments = {"server": server, "folder": str(self.folder)}
        with mock.patch.object(tempfile, "tempdir", str(self.folder)):
            worker.call("health", arguments, done=ended.append, failed=ended.append)
        (folder,) = self.folder.glob("UncertaintySeg-*")
        _wait(lambda: worker.pump() or ended)
        self.assertIn("127.0.0.1:9", str(ended[0]))
        began = time.monotonic()
        worker.close()  # waits for its end, and then removes the folder, which Windows refuses before
        self.assertLess(time.monotonic() - began, 5)
        self.assertFalse(folder.exists())

    def test_the_volumes_module_leaves_the_threshold_of_a_map_alone(self):
        risk = self.session.scene.maps[_MAP]
        display = risk.GetScalarVolumeDisplayNode()
        lowest = display.GetLowerThreshold()
        if hasattr(slicer.modules.volumes, "widgetRepresentation"):  # it may be without a widget: nothing to try then
            slicer.util.selectModule("Volumes")
            slicer.app.applicationLogic().GetSelectionNode().SetActiveVolumeID(risk.GetID())
            slicer.modules.volumes.widgetRepresentation().setEditedNode(risk)
            slicer.app.processEvents()
            slicer.util.selectModule("UncertaintySeg")
        self.assertAlmostEqual(display.GetLowerThreshold(), lowest, places=3)
        self.assertAlmostEqual(display.GetUpperThreshold(), float(slicer.util.arrayFromVolume(risk).max()), places=3)

    def test_the_panel_fits_and_no_button_is_cut(self):
        for section in self.panel.sections.values():
            was = section.button.collapsed
            section.button.collapsed = False
            slicer.app.processEvents()
            buttons = [w for w in vars(section.ui).values() if w.inherits("QPushButton") and w.visible]
            cut = [w.text for w in buttons if w.fontMetrics().boundingRect(w.text).width() > w.width]
            self.assertEqual(cut, [], section.name)
            self.assertLessEqual(_size(section.button.minimumSizeHint).width(), _WIDEST, section.name)
            section.button.collapsed = was

    def _show_result(self):
        """Show the phantom with its label and a map that is high around the lesion and on one side of the organ."""
        scan, label = sample.phantom()
        k, j, i = np.indices(label.shape)
        centre = [axis[label == 2].mean() for axis in (k, j, i)]
        distance = np.sqrt(sum((axis - c) ** 2 for axis, c in zip((k, j, i), centre)))
        files = {
            name: self._file(name, values)
            for name, values in (("scan", scan), ("label", label), (_MAP, np.exp(-distance / 20).astype(np.float32)))
        }
        curve = ((0.2, 0.9), (0.5, 0.95), (0.9, 0.99))
        points = [{"threshold": t, "coverage": c, "reviewed_ml": 1.0, "regions": 1} for t, c in curve]
        risk = {"result": "k3y", "structures": [], "provenance": {}, "risk_coverage": points}
        risk["maps"] = {_MAP: {"url": "", "unit": "1", "range": [0.0, 1.0], "source": "total"}}
        answer = {"label": "", "label_names": {"organ": 1, "lesion": 2}, "risk": risk}
        self.session.open_case(Sample("self test"), files["scan"])
        self.session.show_result(parse_result(answer), files["label"], {_MAP: files[_MAP]})
        self.session.scene.show_map(_MAP)
        slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
        place = nodes.ijk_to_ras(self.session.scene.maps[_MAP]) @ (*centre[::-1], 1.0)
        slicer.app.layoutManager().resetSliceViews()
        for node in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
            node.JumpSliceByOffsetting(*place[:3])
        slicer.app.processEvents()

    def _file(self, name: str, values: np.ndarray) -> Path:
        """Write values `[K, J, I]` as NRRD, and leave nothing in the scene."""
        path = self.folder / f"{name}.nrrd"
        volume = slicer.util.addVolumeFromArray(values, name=name)
        slicer.util.saveNode(volume, str(path))
        slicer.mrmlScene.RemoveNode(volume)
        return path

    def _filled(self) -> list[float]:
        """Return the share of pixels of the fill's colour in each slice view."""
        slicer.app.processEvents()
        shares = []
        for view in snapshots.slice_views().values():
            view.forceRender()
            grabber = vtk.vtkWindowToImageFilter()
            grabber.SetInput(view.renderWindow())
            grabber.SetInputBufferTypeToRGB()
            grabber.ReadFrontBufferOff()
            grabber.Update()
            pixels = vtk_to_numpy(grabber.GetOutput().GetPointData().GetScalars()).astype(int)
            red, green, blue = pixels.T
            shares.append(float(((blue - red > 80) & (blue - green > 80)).mean()))
        return shares

    def _batch(self):
        slicer.mrmlScene.StartState(slicer.mrmlScene.BatchProcessState)
        slicer.mrmlScene.EndState(slicer.mrmlScene.BatchProcessState)
        slicer.app.processEvents()

    def _png(self, pixels: np.ndarray, path: Path):
        image = vtk.vtkImageData()
        image.SetDimensions(pixels.shape[1], pixels.shape[0], 1)
        image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
        vtk_to_numpy(image.GetPointData().GetScalars())[:] = pixels.reshape(-1, 3)
        writer = vtk.vtkPNGWriter()
        writer.SetInputData(image)
        writer.SetFileName(str(path))
        writer.Write()


def _size(hint):
    """Return a size that is a property in Slicer and a method in other bindings of Qt."""
    return hint() if callable(hint) else hint


def _wait(condition, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("Nothing happened.")
        slicer.app.processEvents()


if __name__ == "__main__":
    unittest.main()
