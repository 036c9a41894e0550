"""Keys that others in Slicer's window have, so that ours do not collide with them.

Read in Slicer v5.8.1, whose keys are those of today's main branch as well, and in SlicerNNInteractive 95a1bfa.
SlicerTotalSegmentator 6a82370, SlicerMONAIAuto3DSeg 9cdf2df and MONAI Label's two modules 058ddfc have none. The 3D
view's keys of the number pad are left out: to a shortcut they are digits, and the Segment Editor takes those, too.
"""

from __future__ import annotations

from dataclasses import dataclass

from slicer.i18n import tr as _


@dataclass(frozen=True)
class SharedKey:
    """A key of somebody else.

    Attributes:
        sequence: The key, as Qt writes it.
        owner, what: Whose it is, and what it does there.
        source: The file that says so.
        ours: Name of what our key does where that is the same, see `keyboard.KEYS`; else empty.
    """

    sequence: str
    owner: str
    what: str
    source: str
    ours: str = ""


_WINDOW, _EDITOR = _("Slicer's main window"), _("Slicer's Segment Editor")
_SLICE, _VIEW, _PLOT = _("the slice views"), _("the 3D view"), _("the plot view")
_NNI = "SlicerNNInteractive"

_UI = "Base/QTApp/Resources/UI/qSlicerMainWindow.ui"
_MAIN = "Base/QTApp/qSlicerMainWindow.cxx"
_BAR = "Base/QTGUI/qSlicerModuleSelectorToolBar.cxx"
_MARKUPS = "Modules/Loadable/Markups/Widgets/qMRMLMarkupsToolBar.cxx"
_ON_MARKUP = "Modules/Loadable/Markups/VTKWidgets/vtkSlicerMarkupsWidget.cxx"
_PLAYER = "Modules/Loadable/Sequences/Widgets/qMRMLSequenceBrowserPlayWidget.cxx"
_SLICES = "Libs/MRML/DisplayableManager/vtkMRMLSliceIntersectionWidget.cxx"
_CAMERA = "Libs/MRML/DisplayableManager/vtkMRMLCameraWidget.cxx"
_PLOTS = "Libs/MRML/Widgets/qMRMLPlotView.cxx"
_SEGMENTS = "Modules/Loadable/Segmentations/Widgets/qMRMLSegmentEditorWidget.cxx"
_BRUSH = "Modules/Loadable/Segmentations/EditorEffects/qSlicerSegmentEditorPaintEffect.cxx"
_DRAW = "Modules/Loadable/Segmentations/EditorEffects/Python/SegmentEditorEffects/SegmentEditorDrawEffect.py"
_NNI_PY = "slicer_plugin/SlicerNNInteractive/SlicerNNInteractive.py"


def _all(owner: str, source: str, keys: dict[str, str]) -> tuple[SharedKey, ...]:
    return tuple(SharedKey(sequence, owner, what, source) for sequence, what in keys.items())


def _tools() -> tuple[SharedKey, ...]:
    """Return the digits, which choose the Segment Editor's tools: 11 to 20 with Shift."""
    found = []
    for number in range(1, 21):
        sequence = f"Shift+{number % 10}" if number > 10 else f"{number % 10}"
        ours = f"tool_{number}" if number <= 12 else ""
        found.append(SharedKey(sequence, _EDITOR, _("a tool"), _SEGMENTS, ours))
    return tuple(found)


SHARED_KEYS: tuple[SharedKey, ...] = (
    *_all(_WINDOW, _UI, {"Ctrl+O": _("add data"), "Ctrl+S": _("save data"), "Ctrl+W": _("close the scene")}),
    *_all(_WINDOW, _UI, {"Ctrl+X": _("cut"), "Ctrl+C": _("copy"), "Ctrl+V": _("paste"), "Ctrl+H": _("home module")}),
    *_all(_WINDOW, _UI, {"Ctrl+2": _("settings"), "Ctrl+4": _("extensions"), "Ctrl+6": _("maximize the view")}),
    # Actions that no menu and no tool bar has: they do not hear their key.
    SharedKey("Ctrl+Z", _WINDOW, _("undo"), _UI, ours="undo"),
    SharedKey("Ctrl+Y", _WINDOW, _("redo"), _UI, ours="redo"),
    SharedKey("Ctrl+1", _WINDOW, _("documentation"), "Applications/SlicerApp/qSlicerAppMainWindow.cxx"),
    *_all(_WINDOW, _MAIN, {"Ctrl+0": _("error log"), "Ctrl+3": _("Python console"), "Ctrl+`": _("Python console")}),
    *_all(_WINDOW, _MAIN, {"Ctrl+5": _("module panel")}),
    *_all(_WINDOW, _BAR, {"Ctrl+F": _("find a module")}),
    *_all(_WINDOW, _BAR, {"Ctrl+Left": _("module before"), "Ctrl+Right": _("next module")}),
    *_all(_WINDOW, _MARKUPS, {"Ctrl+Shift+A": _("new markup"), "Ctrl+Shift+T": _("place several points")}),
    *_all(_WINDOW, _MARKUPS, {"Ctrl+Shift+Space": _("place a point")}),
    *_all(_WINDOW, _PLAYER, {"Ctrl+Shift+Down": _("play"), "Ctrl+Shift+Left": _("frame before")}),
    *_all(_WINDOW, _PLAYER, {"Ctrl+Shift+Right": _("next frame")}),
    *_all(_SLICE, _SLICES, {"G": _("hide the segmentation"), "T": _("hide the foreground"), "R": _("reset the view")}),
    *_all(_SLICE, _SLICES, {"F": _("next slice"), "B": _("slice before"), "Left": _("slice before")}),
    *_all(_SLICE, _SLICES, {"Right": _("next slice"), "Up": _("next slice"), "Down": _("slice before")}),
    *_all(_SLICE, _SLICES, {"V": _("show the slice in 3D"), "Shift+V": _("show all slices in 3D")}),
    *_all(_SLICE, _SLICES, {"[": _("volume before"), "]": _("next volume")}),
    *_all(_SLICE, _SLICES, {"{": _("foreground before"), "}": _("next foreground")}),
    *_all(_SLICE, _ON_MARKUP, {"S": _("snap the point to the slice"), "Del": _("delete the point")}),
    *_all(_SLICE, _ON_MARKUP, {"Shift+Del": _("reset the widget"), "Backspace": _("delete the point")}),
    *_all(_VIEW, _CAMERA, {"R": _("reset the view"), "+": _("zoom in"), "-": _("zoom out"), "Ctrl+B": _("tilt lock")}),
    *_all(_VIEW, _CAMERA, {"Left": _("turn"), "Right": _("turn"), "Up": _("turn"), "Down": _("turn")}),
    *_all(_VIEW, _CAMERA, {"Shift+Left": _("pan"), "Shift+Right": _("pan")}),
    *_all(_VIEW, _CAMERA, {"Shift+Up": _("pan"), "Shift+Down": _("pan")}),
    *_all(_VIEW, _CAMERA, {"End": _("from anterior"), "PgDown": _("from left"), "Home": _("from superior")}),
    *_all(_VIEW, _CAMERA, {"Shift+End": _("from posterior"), "Shift+PgDown": _("from right")}),
    *_all(_VIEW, _CAMERA, {"Shift+Home": _("from inferior"), "Ins": _("reset the camera")}),
    *_all(_VIEW, _CAMERA, {"Clear": _("reset the rotation"), "Shift+Clear": _("reset the translation")}),
    *_all(_PLOT, _PLOTS, {"S": _("other mouse mode"), "R": _("fit the axes"), "U": _("drop the selection")}),
    *_tools(),
    SharedKey("Esc", _EDITOR, _("no tool"), _SEGMENTS, ours="no_tool"),
    SharedKey("Space", _EDITOR, _("the tool before"), _SEGMENTS, ours="last_tool"),
    SharedKey("Z", _EDITOR, _("undo"), _SEGMENTS, ours="undo"),
    SharedKey("Ctrl+Z", _EDITOR, _("undo"), _SEGMENTS, ours="undo"),
    SharedKey("Y", _EDITOR, _("redo"), _SEGMENTS, ours="redo"),
    SharedKey("Ctrl+Y", _EDITOR, _("redo"), _SEGMENTS, ours="redo"),
    SharedKey("Ctrl+Shift+Z", _EDITOR, _("redo"), _SEGMENTS, ours="redo"),
    SharedKey("Q", _EDITOR, _("segment before"), _SEGMENTS, ours="previous_segment"),
    SharedKey("W", _EDITOR, _("next segment"), _SEGMENTS, ours="next_segment"),
    *_all(_EDITOR, _SEGMENTS, {"/": _("segment before"), ",": _("segment before"), ">": _("segment before")}),
    *_all(_EDITOR, _SEGMENTS, {"*": _("next segment"), ".": _("next segment"), "<": _("next segment")}),
    *_all(_EDITOR, _SEGMENTS, {"I": _("intensity range on or off")}),
    *_all(_EDITOR, _BRUSH, {"+": _("larger brush"), "=": _("larger brush")}),
    *_all(_EDITOR, _BRUSH, {"-": _("smaller brush"), "_": _("smaller brush")}),
    *_all(_EDITOR, _DRAW, {"A": _("fill what is drawn"), "Return": _("fill what is drawn")}),
    *_all(_EDITOR, _DRAW, {"X": _("drop the last point")}),
    *_all(_NNI, _NNI_PY, {"P": _("points"), "B": _("a box"), "L": _("a lasso"), "S": _("a scribble")}),
    *_all(_NNI, _NNI_PY, {"E": _("next segment"), "R": _("clear the segment"), "Del": _("delete the segment")}),
    *_all(_NNI, _NNI_PY, {"T": _("positive or negative"), "V": _("hide the segment")}),
    SharedKey("Ctrl+Z", _NNI, _("undo"), _NNI_PY, ours="undo"),
)  # fmt: skip
"""All of them; one key may be several people's."""


def owners(sequence: str, name: str) -> list[SharedKey]:
    """Return who else has a key, less those who have it for the same: what we call `name`."""
    return [shared for shared in SHARED_KEYS if shared.sequence == sequence and shared.ours != name]
