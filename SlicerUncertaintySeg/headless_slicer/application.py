"""The application around a scene: MRML application logic, module logics, and the names `slicer.*` expects."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from types import ModuleType, SimpleNamespace

import slicer
import vtk

from headless_slicer.layout import Layout
from headless_slicer.plot_view import PlotView
from headless_slicer.views import SliceView, ThreeDView, register_displayable_managers

_host: Host | None = None


class Host:
    """A running Slicer core: one scene, its application logic, and the views made so far.

    Attributes:
        scene: The `vtkMRMLScene`, also `slicer.mrmlScene`.
        application_logic: The `vtkSlicerApplicationLogic`, also `slicer.app.applicationLogic()`.
        layout: The stand-in of `slicer.app.layoutManager()`; starts with the four-up layout.
    """

    def __init__(self) -> None:
        self.scene = slicer.vtkMRMLScene()
        self.application_logic = slicer.vtkSlicerApplicationLogic()
        self._slice_views: dict[str, SliceView] = {}
        self._three_d_views: dict[str, ThreeDView] = {}
        self._plot_views: dict[str, PlotView] = {}
        self._temporary = tempfile.TemporaryDirectory(prefix="headless_slicer_")
        self._connect_application_logic()
        self._connect_modules()
        register_displayable_managers(self.application_logic)
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(self.scene, True)
        slicer.mrmlScene = self.scene
        slicer.app = SimpleNamespace(
            applicationLogic=lambda: self.application_logic,
            mrmlScene=lambda: self.scene,
            temporaryPath=self._temporary.name,
            processEvents=lambda: None,
            layoutManager=lambda: self.layout.manager,
            pauseRender=lambda: None,
            resumeRender=lambda: None,
        )
        self.layout = Layout(self, slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)

    def slice_view(
        self, name: str = "Red", orientation: str | None = None, size: tuple[int, int] = (500, 450)
    ) -> SliceView:
        """Return the slice view of that name, made on the first call.

        Args:
            name: "Red", "Yellow", "Green", or any other name for a further view.
            orientation: "Axial", "Sagittal" or "Coronal"; by default what the layout gives that name (else axial).
            size: Width and height in pixels, used when the view is made.
        """
        if name not in self._slice_views:
            self._slice_views[name] = SliceView(self.scene, self.application_logic, name, orientation, size)
        return self._slice_views[name]

    def three_d_view(self, size: tuple[int, int] = (500, 450), name: str = "1") -> ThreeDView:
        """Return the 3D view of that name, made on the first call."""
        if name not in self._three_d_views:
            self._three_d_views[name] = ThreeDView(self.scene, name, size)
        return self._three_d_views[name]

    def plot_view(self, name: str = "PlotView1", size: tuple[int, int] = (500, 450)) -> PlotView:
        """Return the plot view of that name, made on the first call."""
        if name not in self._plot_views:
            self._plot_views[name] = PlotView(self.scene, name, size)
        return self._plot_views[name]

    def slice_view_names(self) -> tuple[str, ...]:
        """Return the names of the slice views made so far."""
        return tuple(self._slice_views)

    def clear(self) -> None:
        """Empty the scene as File > Close scene does: views and other singletons stay, with their first settings.

        The layout is the first one again.
        """
        self.scene.Clear(False)
        for views in (self._slice_views, self._three_d_views, self._plot_views):
            for view in views.values():
                view.reset()
        self.layout.reset()

    def _connect_application_logic(self) -> None:
        logic = self.application_logic
        logic.SetHomeDirectory(self._temporary.name)
        logic.SetTemporaryPath(self._temporary.name)
        logic.SetShareDirectory("share")
        (Path(self._temporary.name) / "share" / "ColorFiles").mkdir(parents=True)  # empty: the wheel has none
        logic.SetMRMLScene(self.scene)
        logic.SetSliceLogics(vtk.vtkCollection())
        logic.SetViewLogics(vtk.vtkCollection())
        crosshair = slicer.vtkMRMLCrosshairNode()
        crosshair.SetCrosshairName("default")
        self.scene.AddNode(crosshair)

    def _connect_modules(self) -> None:
        slicer.modules = SimpleNamespace()
        module_logics = {
            # vtkMRMLColorLogic would give colours too, but only its Slicer subclass makes legends.
            "Colors": slicer.vtkSlicerColorLogic(),
            "Volumes": slicer.vtkSlicerVolumesLogic(),
            "Terminologies": slicer.vtkSlicerTerminologiesModuleLogic(),
            "Segmentations": slicer.vtkSlicerSegmentationsModuleLogic(),
            "SubjectHierarchy": slicer.vtkSlicerSubjectHierarchyModuleLogic(),
            "VolumeRendering": slicer.vtkSlicerVolumeRenderingLogic(),
            "Markups": slicer.vtkSlicerMarkupsLogic(),
            "Cameras": slicer.vtkSlicerCamerasModuleLogic(),
            "Plots": slicer.vtkSlicerPlotsLogic(),
            "Tables": slicer.vtkSlicerTablesLogic(),
            "Models": slicer.vtkSlicerModelsLogic(),
            "Sequences": slicer.vtkSlicerSequencesLogic(),
        }
        for name, logic in module_logics.items():
            # The application logic must come first: scene callbacks of the module logics ask it for others.
            logic.SetMRMLApplicationLogic(self.application_logic)
            with _vtk_silenced():  # the wheel lacks the terminology files that this one looks for
                logic.SetMRMLScene(self.scene)
            self.application_logic.SetModuleLogic(name, logic)
            module = SimpleNamespace(name=name, logic=lambda logic=logic: logic)
            setattr(slicer.modules, name.lower(), module)
        module_logics["Colors"].AddDefaultColorNodes()
        self._add_label_colors()

    def _add_label_colors(self) -> None:
        """Add the table that label volumes ask for by id; Slicer reads it from a file that the wheel lacks."""
        colors = slicer.vtkMRMLColorTableNode()
        colors.SetTypeToRandom()
        colors.SetName("GenericColors")
        colors.SetSingletonTag("FileGenericColors.txt")
        self.scene.AddNode(colors)


class _vtk_silenced:
    def __enter__(self) -> None:
        self._before = vtk.vtkObject.GetGlobalWarningDisplay()
        vtk.vtkObject.GlobalWarningDisplayOff()

    def __exit__(self, *_: object) -> None:
        vtk.vtkObject.SetGlobalWarningDisplay(self._before)


def start() -> Host:
    """Start the Slicer core in this process, or return the one already running.

    Views render off screen. On Linux this chooses EGL unless `VTK_DEFAULT_OPENGL_WINDOW` is already set.
    """
    global _host  # noqa: PLW0603
    if _host is None:
        if sys.platform == "linux":
            os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
        window = vtk.vtkOutputWindow()
        window.SetDisplayModeToAlwaysStdErr()
        vtk.vtkOutputWindow.SetInstance(window)
        _add_translation()
        _host = Host()
    return _host


def _add_translation() -> None:
    """Make `slicer.i18n`, which the wheel lacks, importable: every text stays as it is."""
    i18n = ModuleType("slicer.i18n", doc="Stand-in of headless_slicer")
    i18n.tr = lambda text: text
    i18n.translate = lambda _context, text: text
    sys.modules[i18n.__name__] = slicer.i18n = i18n
