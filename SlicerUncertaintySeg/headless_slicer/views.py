"""Off-screen slice and 3D views: Slicer's own logics and displayable managers, drawn into an image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from headless_slicer.pointer import Pointer

SLICE_MANAGERS = (
    "vtkMRMLVolumeGlyphSliceDisplayableManager",
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLCrosshairDisplayableManager",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLRulerDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLColorLegendDisplayableManager",
)
THREE_D_MANAGERS = (
    "vtkMRMLVolumeRenderingDisplayableManager",
    "vtkMRMLCameraDisplayableManager",
    "vtkMRMLViewDisplayableManager",
    "vtkMRMLModelDisplayableManager",
    "vtkMRMLThreeDReformatDisplayableManager",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager3D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLColorLegendDisplayableManager",
)


def register_displayable_managers(application_logic: slicer.vtkSlicerApplicationLogic) -> None:
    """Tell both view factories which displayable managers to give to new views."""
    for factory, managers in (
        (slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance(), SLICE_MANAGERS),
        (slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance(), THREE_D_MANAGERS),
    ):
        factory.SetMRMLApplicationLogic(application_logic)
        for manager in managers:
            if not factory.IsDisplayableManagerRegistered(manager):
                factory.RegisterDisplayableManager(manager)


class Picture:
    """A render window that can be looked at."""

    window: vtk.vtkRenderWindow

    def render(self) -> None:
        """Draw the view as the scene now is."""
        self.window.Render()

    def image(self) -> np.ndarray:
        """Draw the view and return it as uint8 `[height, width, 3]`, top row first."""
        self.render()
        grabber = vtk.vtkWindowToImageFilter()
        grabber.SetInput(self.window)
        grabber.SetInputBufferTypeToRGB()
        grabber.ReadFrontBufferOff()
        grabber.Update()
        picture = grabber.GetOutput()
        width, height, _ = picture.GetDimensions()
        pixels = vtk_to_numpy(picture.GetPointData().GetScalars()).reshape(height, width, 3)
        return np.ascontiguousarray(pixels[::-1])

    def save_png(self, path: str | Path) -> Path:
        """Draw the view, write it as PNG, and return the path."""
        pixels = np.ascontiguousarray(self.image()[::-1])
        picture = vtk.vtkImageImport()
        picture.CopyImportVoidPointer(pixels, pixels.nbytes)
        picture.SetDataScalarTypeToUnsignedChar()
        picture.SetNumberOfScalarComponents(3)
        picture.SetWholeExtent(0, pixels.shape[1] - 1, 0, pixels.shape[0] - 1, 0, 0)
        picture.SetDataExtentToWholeExtent()
        writer = vtk.vtkPNGWriter()
        writer.SetFileName(str(path))
        writer.SetInputConnection(picture.GetOutputPort())
        writer.Write()
        return Path(path)


class _View(Picture):
    """A render window with an interactor and the displayable managers of one factory."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._size = size
        self.renderer = vtk.vtkRenderer()
        self.window = vtk.vtkRenderWindow()
        self.window.SetOffScreenRendering(1)
        self.window.SetMultiSamples(0)  # Mesa's software renderer draws 3D views blank with multisampling
        self.window.AddRenderer(self.renderer)
        self.window.SetSize(*size)
        self.interactor = vtk.vtkRenderWindowInteractor()
        self.interactor.SetRenderWindow(self.window)
        self.pointer = Pointer(self.window)

    def _attach(self, factory: object, style: slicer.vtkMRMLViewInteractorStyle) -> None:
        self.managers = slicer.vtkMRMLDisplayableManagerGroup()
        self.managers.SetRenderer(self.renderer)
        self.managers.Initialize(factory, self.renderer)
        self.managers.SetMRMLDisplayableNode(self.node)
        self.interactor.Initialize()
        self.interactor.SetInteractorStyle(vtk.vtkInteractorStyle3D())  # VTK's own would turn the camera
        # This one hands what the mouse and the keys do to the displayable managers.
        style.SetDisplayableManagers(self.managers)
        style.SetInteractor(self.interactor)
        self._style = style
        self.corner_annotation = vtk.vtkCornerAnnotation()
        self.renderer.AddViewProp(self.corner_annotation)

    def resize(self, width: int, height: int) -> None:
        """Give the view another size in pixels."""
        self.window.SetSize(width, height)
        self.interactor.UpdateSize(width, height)


class SliceView(_View):
    """One slice view. `node`, `logic` and `composite_node` are its real MRML slice objects."""

    def __init__(self, scene, application_logic, name: str, orientation: str | None, size: tuple[int, int]) -> None:
        super().__init__(size)
        self.renderer.GetActiveCamera().ParallelProjectionOn()
        # The image must be the renderer's first prop: segment fills drawn before it blend with black.
        self._mapper = vtk.vtkImageMapper()
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        image_actor = vtk.vtkActor2D()
        image_actor.SetMapper(self._mapper)
        image_actor.GetProperty().SetDisplayLocationToBackground()
        self.renderer.AddViewProp(image_actor)

        self.logic = slicer.vtkMRMLSliceLogic()
        self.logic.SetMRMLApplicationLogic(application_logic)
        application_logic.GetSliceLogics().AddItem(self.logic)
        self.logic.SetMRMLScene(scene)
        self.node = scene.GetSingletonNode(name, "vtkMRMLSliceNode")
        if self.node is None:
            self.node = self.logic.AddSliceNode(name)
        else:
            self.logic.SetSliceNode(self.node)
        self._orientation = orientation or self.node.GetOrientation()
        self.reset()
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        style = slicer.vtkMRMLSliceViewInteractorStyle()
        style.SetSliceLogic(self.logic)
        self._attach(factory, style)
        self.window.AddObserver("StartEvent", self._show_slice)
        # Slicer's window sorts 2D actors into a layer above the slice; without one they hide behind the image.
        self.window.SetAlphaBitPlanes(1)

    @property
    def composite_node(self) -> slicer.vtkMRMLSliceCompositeNode:
        """Which volumes the view stacks, and how opaque they are."""
        return self.logic.GetSliceCompositeNode()

    def reset(self) -> None:
        """Give the view its first settings, which closing a scene takes from its nodes."""
        self.node.SetMappedInLayout(1)
        self.node.SetOrientation(self._orientation)
        self.resize(*self._size)
        self.node.SetDimensions(*self._size, 1)
        self.composite_node.SetForegroundOpacity(0.0)

    def fit(self) -> None:
        """Zoom so that the background volume fills the view."""
        self.logic.FitSliceToAll()

    def zoom(self, factor: float) -> None:
        """Magnify about the centre by `factor`."""
        width, height, depth = self.node.GetFieldOfView()
        self.node.SetFieldOfView(width / factor, height / factor, depth)

    def jump_to(self, ras: tuple[float, float, float]) -> None:
        """Move to the slice through a position in mm (RAS), without panning."""
        self.node.JumpSliceByOffsetting(*(float(value) for value in ras))

    def pixel_of(self, ras: tuple[float, float, float]) -> tuple[int, int]:
        """Return the `(row, column)` of `image()` where a position in mm (RAS) is drawn."""
        ras_to_xy = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(self.node.GetXYToRAS(), ras_to_xy)
        x, y, _, _ = ras_to_xy.MultiplyPoint((*ras, 1.0))
        return self.window.GetSize()[1] - 1 - round(y), round(x)

    def resize(self, width: int, height: int) -> None:
        super().resize(width, height)
        self.logic.ResizeSliceNode(width, height)

    def _show_slice(self, *_event: object) -> None:
        self._mapper.SetInputConnection(self.logic.GetImageDataConnection())


class ThreeDView(_View):
    """A 3D view. `node` is its real MRML view node."""

    def __init__(self, scene, name: str, size: tuple[int, int]) -> None:
        super().__init__(size)
        self.renderer.SetUseDepthPeeling(1)
        self.node = scene.GetSingletonNode(name, "vtkMRMLViewNode")
        if self.node is None:
            self.node = slicer.vtkMRMLViewNode()
            self.node.SetSingletonTag(name)
            self.node.SetLayoutName(name)
            scene.AddNode(self.node)
        self.reset()
        factory = slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance()
        self._attach(factory, slicer.vtkMRMLThreeDViewInteractorStyle())

    def reset(self) -> None:
        """Give the view its first settings, which closing a scene takes from its node."""
        self.node.SetMappedInLayout(1)
        self.resize(*self._size)

    def settle(self) -> None:
        """Bring what is in the view up to date with the scene; the picture is of few pixels, for nobody looks at it."""
        size = self.window.GetSize()
        self.window.SetSize(*(1 + length // 16 for length in size))
        self.render()
        self.window.SetSize(*size)

    def fit(self) -> None:
        """Place the camera so that everything visible is in view."""
        self.settle()
        self.renderer.ResetCamera()
