"""How a risk map looks: heat colours over the scan, nothing below the threshold, and a legend."""

from __future__ import annotations

import math

import numpy as np
import slicer

from UncertaintySegLib.colors import heat_table

TITLES = {
    "variance": "Variance",
    "predictive_entropy": "Predictive entropy",
    "expected_entropy": "Expected entropy (aleatoric)",
    "mutual_information": "Mutual information (epistemic)",
    "margin_risk": "Margin risk",
    "error_probability": "Error probability",
}
_HIGHEST = 1e30  # above any map: only the lower end of the display threshold is ours


def title(name: str, unit: str = "1") -> str:
    """Return the map's name as people say it, with its unit when it has one."""
    for prefix in ("probability_", "variance_"):
        if name.startswith(prefix) and name not in TITLES:
            text = f"{prefix[:-1].capitalize()} of {name[len(prefix) :].replace('_', ' ')}"
            break
    else:
        text = TITLES.get(name, name.replace("_", " ").capitalize())
    return text if unit == "1" else f"{text} ({unit})"


def display_maximum(values: np.ndarray, highest: float) -> float:
    """Return the top of the colour scale: 1, 2 or 5 times a power of ten just above nearly all of the map.

    Round numbers keep the scale the same for similar cases, so their colours compare.

    Args:
        values: The map, any shape.
        highest: Largest value that the measure can take; the scale never passes it.
    """
    positive = values[values > 0]
    if not positive.size:
        return highest
    top = float(np.quantile(positive, 0.995))
    power = 10.0 ** math.floor(math.log10(top))
    return min(highest, next(step * power for step in (1, 2, 5, 10) if step * power >= top * (1 - 1e-6)))


def style(volume: slicer.vtkMRMLScalarVolumeNode, name: str, unit: str, highest: float) -> float:
    """Give a risk map its colours, its scale, a threshold at a tenth of the scale, and a hidden legend.

    Returns:
        The top of the scale.
    """
    scene, display = volume.GetScene(), volume.GetScalarVolumeDisplayNode()
    maximum = display_maximum(slicer.util.arrayFromVolume(volume), highest)
    display.SetAndObserveColorNodeID(heat_table(scene).GetID())
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(0.0, maximum)
    display.InterpolateOn()
    set_threshold(volume, maximum / 10)
    legend = slicer.modules.colors.logic().AddDefaultColorLegendDisplayNode(volume)
    legend.SetTitleText(title(name, unit).replace(" ", "\n"))  # one line would cover the scan
    legend.SetLabelFormat("%.2g")
    legend.SetNumberOfLabels(6)
    legend.SetSize(0.1, 0.42)
    legend.SetPosition(0.98, 0.5)
    legend.GetTitleTextProperty().SetFontFamilyToArial()
    legend.GetTitleTextProperty().SetFontSize(14)
    legend.GetLabelTextProperty().SetFontFamilyToArial()
    legend.GetLabelTextProperty().SetFontSize(13)
    legend.SetVisibility(False)
    return maximum


def set_threshold(volume: slicer.vtkMRMLScalarVolumeNode, threshold: float) -> None:
    """Make the map invisible below `threshold`; zero is always invisible, for it also stands for "not looked at"."""
    display = volume.GetScalarVolumeDisplayNode()
    lowest = float(np.finfo(np.float32).tiny)
    display.SetThreshold(max(threshold, lowest), _HIGHEST)
    display.ApplyThresholdOn()


def show(
    scene: slicer.vtkMRMLScene, maps: list[slicer.vtkMRMLScalarVolumeNode], shown: slicer.vtkMRMLScalarVolumeNode | None
) -> None:
    """Put one of the maps, with its legend, in front of the scan in every slice view; None takes them all away.

    A foreground of the user's own is left alone while no map is to be shown.
    """
    own = {volume.GetID() for volume in maps}
    for composite in slice_composites(scene):
        if shown is not None or composite.GetForegroundVolumeID() in own:
            composite.SetForegroundVolumeID(shown.GetID() if shown is not None else None)
    # After the views: a legend looks only when it changes itself whether its map is in a view.
    for volume in maps:
        legend = slicer.modules.colors.logic().GetColorLegendDisplayNode(volume)
        if legend is not None:
            legend.SetVisibility(volume is shown)


def set_opacity(scene: slicer.vtkMRMLScene, opacity: float) -> None:
    """Set how opaque the map is over the scan, 0 to 1, in every slice view."""
    for composite in slice_composites(scene):
        composite.SetForegroundOpacity(opacity)


def slice_composites(scene: slicer.vtkMRMLScene) -> list[slicer.vtkMRMLSliceCompositeNode]:
    """Return what each slice view stacks."""
    found = scene.GetNodesByClass("vtkMRMLSliceCompositeNode")
    found.UnRegister(None)
    return [found.GetItemAsObject(index) for index in range(found.GetNumberOfItems())]
