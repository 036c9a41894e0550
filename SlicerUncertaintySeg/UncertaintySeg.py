"""The 3D Slicer module: what Slicer needs to know about it, and its panel. All else lives in UncertaintySegLib."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin
from vtk.util.numpy_support import vtk_to_numpy

from UncertaintySegLib.logic.session import Session
from UncertaintySegLib.scene import overlay, sample
from UncertaintySegLib.scene.case import CaseScene
from UncertaintySegLib.server.worker_client import WorkerClient


class UncertaintySeg(ScriptedLoadableModule):
    """Describes the module to Slicer."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("Uncertainty Segmentation")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Active Learning")]
        parent.dependencies = [
            *("Cameras", "Colors", "Markups", "Plots", "Segmentations", "Sequences", "Terminologies"),
            *("VolumeRendering", "Volumes"),
        ]
        parent.contributors = ["The SlicerUncertaintySeg maintainers"]
        parent.helpText = _(
            "Segment with models that know where they are unsure, look at their risk maps, correct, and send the"
            " label back. The models run on a MONAI Label server, which may be on this computer:"
            " start one with <tt>uncertaintyseg serve --studies DIR</tt>."
        )
        parent.acknowledgementText = _("Not a medical device: for research only.")
        slicer.app.connect("startupCompleted()", register_sample_data)


def register_sample_data():
    """Offer a simulated scan, with a label to refine, in the Sample Data module; it is made here, not downloaded."""
    import SampleData  # noqa: PLC0415 - a module of Slicer's, there once all modules are loaded

    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="Uncertainty Segmentation",
        sampleName=sample.SCAN_NAME,
        uris=[],
        fileNames=[],
        nodeNames=[],
        thumbnailFileName=str(Path(__file__).parent / "Resources" / "Icons" / "UncertaintySeg.png"),
        customDownloader=sample.load_phantom,
    )


class UncertaintySegLogic(ScriptedLoadableModuleLogic):
    """The module without its panel, for scripts: `session` takes cases from a server and shows them in the scene."""

    def __init__(self):
        ScriptedLoadableModuleLogic.__init__(self)
        folder = Path(slicer.app.temporaryPath) / "UncertaintySeg"
        self.session = Session(CaseScene(slicer.mrmlScene), WorkerClient(), folder)


class UncertaintySegWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Puts the panel into Slicer's module area."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.panel = None

    def setup(self):
        """Called by Slicer when the module is first opened."""
        from UncertaintySegLib.panel.panel import Panel  # noqa: PLC0415 - qt is there only when Slicer has a window
        from UncertaintySegLib.panel.sections import SECTIONS  # noqa: PLC0415

        ScriptedLoadableModuleWidget.setup(self)
        self.logic = UncertaintySegLogic()
        ui_file = Path(self.resourcePath("UI/UncertaintySeg.ui"))
        ui_widget = slicer.util.loadUI(str(ui_file))
        self.layout.addWidget(ui_widget)
        ui = slicer.util.childWidgetVariables(ui_widget)
        self.panel = Panel(ui, self.logic.session, SECTIONS, str(ui_file.parent))
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneClosed)

    def enter(self):
        """Called by Slicer when the module is shown."""
        self.panel.enter()

    def exit(self):
        """Called by Slicer when another module is shown."""
        self.panel.exit()

    def cleanup(self):
        """Called by Slicer before the module goes."""
        self.removeObservers()
        if self.panel is not None:
            self.panel.close()

    def onSceneClosed(self, _caller, _event):
        """Forget the case whose nodes went with the scene."""
        self.logic.session.close_case()


class UncertaintySegTest(ScriptedLoadableModuleTest):
    """Needs no server: makes a scan and a risk map, and looks at what the scene then shows."""

    def setUp(self):
        """Start from an empty scene."""
        slicer.mrmlScene.Clear(0)

    def runTest(self):
        """Called by Slicer's "Reload and Test" and by its self tests."""
        self.setUp()
        self.test_overlay_and_threshold()

    def test_overlay_and_threshold(self):
        """A risk map lies over the scan in every slice view, and the threshold hides its low values."""
        self.delayDisplay(_("Overlaying a risk map"))
        ramp = np.tile(np.linspace(0, 1, 40, dtype=np.float32), (20, 30, 1))
        scan = slicer.util.addVolumeFromArray(ramp * 100, nodeClassName="vtkMRMLScalarVolumeNode", name="scan")
        risk = slicer.util.addVolumeFromArray(ramp, nodeClassName="vtkMRMLScalarVolumeNode", name="risk")
        for volume in (scan, risk):
            volume.CreateDefaultDisplayNodes()
        slicer.util.setSliceViewerLayers(background=scan, fit=True)

        maximum = overlay.style(risk, "error_probability", "1", 1.0)
        overlay.show(slicer.mrmlScene, [risk], risk)
        overlay.set_opacity(slicer.mrmlScene, 1.0)
        assert maximum == 1.0
        for composite in overlay.slice_composites(slicer.mrmlScene):
            assert composite.GetForegroundVolumeID() == risk.GetID()

        for threshold in (0.25, 0.75):
            overlay.set_threshold(risk, threshold)
            opaque = self._alpha(risk) > 0
            expected = slicer.util.arrayFromVolume(risk) >= threshold
            assert np.array_equal(opaque, expected)
        self.delayDisplay(_("Test passed"))

    def _alpha(self, volume):
        """Return how opaque the views draw each voxel, 0 to 255."""
        connection = volume.GetScalarVolumeDisplayNode().GetOutputImageDataConnection()
        connection.GetProducer().Update()
        drawn = connection.GetProducer().GetOutputDataObject(connection.GetIndex())
        rgba = vtk_to_numpy(drawn.GetPointData().GetScalars())
        return rgba[:, 3].reshape(slicer.util.arrayFromVolume(volume).shape)
