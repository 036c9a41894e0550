"""How a risk map looks: heat colours over the scan, nothing below the threshold, and a legend."""

from __future__ import annotations

import math

import numpy as np
import slicer

from UncertaintySegLib.scene.colors import heat_table

FIRST_MAP = "error_probability"

TITLES = {
    "variance": "Variance",
    "predictive_entropy": "Predictive entropy",
    "expected_entropy": "Expected entropy",
    "mutual_information": "Mutual information",
    "margin_risk": "Margin risk",
    "error_probability": "Error probability",
    "anomaly": "Anomaly of the label",
    "reader_disagreement": "Disagreement of readers",
    "fused_uncertainty": "Fused uncertainty",
    "ranking": "Learned ranking of errors",
    "calibration": "Learned calibration",
    "probe_variance": "Variance of the probes",
    "aleatoric_entropy": "Aleatoric entropy",
    "epistemic_entropy": "Epistemic entropy",
    "epistemic_variance": "Epistemic variance",
    "expected_pairwise_kl": "Expected pairwise divergence",
    "dropout_variance": "Variance, dropout path",
    "dropout_mutual_information": "Mutual information, dropout path",
    "dropout_expected_entropy": "Expected entropy, dropout path",
    "dropout_expected_pairwise_kl": "Expected pairwise divergence, dropout path",
    "l_fusion_uncertainty": "L-FUSION",
    "l_fusion_literal": "L-FUSION, entropy of the difference",
    "l_fusion_with_gap": "L-FUSION, with the paths' gap",
    "l_fusion_laplace": "L-FUSION, Laplace path alone",
    "l_fusion_dropout": "L-FUSION, dropout path alone",
}
_PLAIN = "UncertaintySeg.Plain"
_ENOUGH_VOXELS = 1_000_000  # to know the top of a map


def title(name: str, unit: str = "1", driven_by: str = "") -> str:
    """Return the map's name as people say it, with its unit when it has one, and the map that it was read from."""
    for prefix in ("probability_", "variance_"):
        if name.startswith(prefix) and name not in TITLES:
            text = f"{prefix[:-1].capitalize()} of {name[len(prefix) :].replace('_', ' ')}"
            break
    else:
        text = TITLES.get(name, name.replace("_", " ").capitalize())
    text = text if unit == "1" else f"{text} ({unit})"
    return f"{text}, by {title(driven_by).lower()}" if driven_by else text


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
    values = slicer.util.arrayFromVolume(volume).ravel()
    maximum = display_maximum(values[:: max(1, values.size // _ENOUGH_VOXELS)], highest)
    color(volume, name, unit, maximum)
    set_threshold(volume, maximum / 10)
    return maximum


def color(volume: slicer.vtkMRMLScalarVolumeNode, name: str, unit: str, maximum: float, scale: str = "heat") -> None:
    """Give a risk map its colours from 0 to `maximum`, and a legend: a hidden one where it has none yet."""
    display = volume.GetScalarVolumeDisplayNode()
    display.SetAndObserveColorNodeID(heat_table(volume.GetScene(), scale).GetID())
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(0.0, maximum)
    display.InterpolateOn()
    logic = slicer.modules.colors.logic()
    if logic.GetColorLegendDisplayNode(volume) is not None:
        return
    legend = logic.AddDefaultColorLegendDisplayNode(volume)
    legend.SetTitleText(title(name, unit).replace(" ", "\n"))  # one line would cover the scan
    legend.SetLabelFormat("%.2g")
    legend.SetNumberOfLabels(6)
    legend.SetSize(0.08, 0.3)
    legend.SetPosition(0.98, 0.5)
    legend.GetTitleTextProperty().SetFontFamilyToArial()
    legend.GetTitleTextProperty().SetFontSize(14)
    legend.GetLabelTextProperty().SetFontFamilyToArial()
    legend.GetLabelTextProperty().SetFontSize(13)
    legend.SetVisibility(False)


def entitle(volume: slicer.vtkMRMLScalarVolumeNode, text: str) -> None:
    """Head the legend of a coloured map."""
    legend = slicer.modules.colors.logic().GetColorLegendDisplayNode(volume)
    if legend is not None:
        legend.SetTitleText(text.replace(" ", "\n"))  # one line would cover the scan


def set_threshold(volume: slicer.vtkMRMLScalarVolumeNode, threshold: float) -> None:
    """Make the map invisible below `threshold`; zero is always invisible, for it also stands for "not looked at".

    The upper end is the top of the map, to which the slider of the Volumes module widens its range. Set it again when
    the map got other voxels.
    """
    display = volume.GetScalarVolumeDisplayNode()
    lowest = max(threshold, float(np.finfo(np.float32).tiny))
    display.SetThreshold(lowest, max(lowest, volume.GetImageData().GetScalarRange()[1]))
    display.ApplyThresholdOn()


def show(
    scene: slicer.vtkMRMLScene,
    maps: list[slicer.vtkMRMLScalarVolumeNode],
    shown: slicer.vtkMRMLScalarVolumeNode | None,
    legend: bool = True,
) -> None:
    """Put one of the maps, with its legend, in front of the scan in every slice view; None takes them all away.

    A foreground of the user's own is left alone while no map is to be shown; so is a view that `keep_plain` has.
    """
    own = {volume.GetID() for volume in maps}
    for composite in slice_composites(scene):
        wanted = None if composite.GetAttribute(_PLAIN) else shown
        if wanted is not None or composite.GetForegroundVolumeID() in own:
            composite.SetForegroundVolumeID(wanted.GetID() if wanted is not None else None)
    # After the views: a legend looks only when it changes itself whether its map is in a view.
    for volume in maps:
        node = slicer.modules.colors.logic().GetColorLegendDisplayNode(volume)
        if node is not None:
            _keep_off_plain_views(scene, node)
            node.SetVisibility(legend and volume is shown)


def keep_plain(composite: slicer.vtkMRMLSliceCompositeNode, plain: bool) -> None:
    """Say whether a view is to show the scan without any map, from the next `show` on."""
    if plain:
        composite.SetAttribute(_PLAIN, "1")
    else:
        composite.RemoveAttribute(_PLAIN)


def _keep_off_plain_views(scene: slicer.vtkMRMLScene, legend: slicer.vtkMRMLColorLegendDisplayNode) -> None:
    plain = {composite.GetLayoutName() for composite in slice_composites(scene) if composite.GetAttribute(_PLAIN)}
    legend.RemoveAllViewNodeIDs()  # which means all views
    if plain:
        for view in slicer.util.getNodesByClass("vtkMRMLAbstractViewNode"):
            if view.GetLayoutName() not in plain:
                legend.AddViewNodeID(view.GetID())


def set_opacity(scene: slicer.vtkMRMLScene, opacity: float) -> None:
    """Set how opaque the map is over the scan, 0 to 1, in every slice view."""
    for composite in slice_composites(scene):
        composite.SetForegroundOpacity(opacity)


def slice_composites(scene: slicer.vtkMRMLScene) -> list[slicer.vtkMRMLSliceCompositeNode]:
    """Return what each slice view stacks."""
    found = scene.GetNodesByClass("vtkMRMLSliceCompositeNode")
    found.UnRegister(None)
    return [found.GetItemAsObject(index) for index in range(found.GetNumberOfItems())]
