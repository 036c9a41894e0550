"""The application around a scene: MRML application logic, module logics, and the names `slicer.*` expects."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import slicer
import vtk

from slicer_host.views import SliceView, ThreeDView, register_displayable_managers

_host: Host | None = None


class Host:
    """A running Slicer core: one scene, its application logic, and the views made so far.

    Attributes:
        scene: The `vtkMRMLScene`, also `slicer.mrmlScene`.
        application_logic: The `vtkSlicerApplicationLogic`, also `slicer.app.applicationLogic()`.
    """

    def __init__(self) -> None:
        self.scene = slicer.vtkMRMLScene()
        self.application_logic = slicer.vtkSlicerApplicationLogic()
        self._slice_views: dict[str, SliceView] = {}
        self._three_d_view: ThreeDView | None = None
        self._temporary = tempfile.TemporaryDirectory(prefix="slicer_host_")
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
        )

    def slice_view(
        self, name: str = "Red", orientation: str | None = None, size: tuple[int, int] = (500, 450)
    ) -> SliceView:
        """Return the slice view of that name, made on the first call.

        Args:
            name: "Red", "Yellow", "Green", or any other name for a further view.
            orientation: "Axial", "Sagittal" or "Coronal"; by default what Slicer gives that name (else axial).
            size: Width and height in pixels, used when the view is made.
        """
        if name not in self._slice_views:
            usual = {"Yellow": "Sagittal", "Green": "Coronal"}.get(name, "Axial")
            self._slice_views[name] = SliceView(self.scene, self.application_logic, name, orientation or usual, size)
        return self._slice_views[name]

    def three_d_view(self, size: tuple[int, int] = (500, 450)) -> ThreeDView:
        """Return the 3D view, made on the first call."""
        if self._three_d_view is None:
            self._three_d_view = ThreeDView(self.scene, self.application_logic, size)
        return self._three_d_view

    def slice_view_names(self) -> tuple[str, ...]:
        """Return the names of the slice views made so far."""
        return tuple(self._slice_views)

    def clear(self) -> None:
        """Empty the scene as File > Close scene does: views and other singletons stay, with their first settings."""
        self.scene.Clear(False)
        for view in self._views():
            view.reset()

    def _views(self) -> list[SliceView | ThreeDView]:
        return [*self._slice_views.values(), *([self._three_d_view] if self._three_d_view else [])]

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
        _host = Host()
    return _host
