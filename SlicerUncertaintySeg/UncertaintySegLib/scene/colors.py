"""Colours of what lies over a scan: maps, the part to review, the box around a region, structures.

People see them apart with any kind of colour vision. Simulated by the matrices of Machado, Oliveira and Fernandes
(IEEE Trans. Vis. Comput. Graph. 15:1291, 2009) at severity 1 for protanopia, deuteranopia and tritanopia, and without,
any two that may meet are 15 or more apart in CIEDE2000, as the tests check: each with every level of the heat scale,
and of the structures each with the two that follow it. They differ in lightness too, and in how they are drawn: maps
are smooth areas from dark to bright, the part to review is one flat dark area, structures are lines, boxes dashed ones.
"""

from __future__ import annotations

import numpy as np
import slicer

TABLE_NAME = "Uncertainty"

# Lightness rises evenly from left to right, so equal steps of risk look equal, in grey print too; only the hues differ.
# Columns: OKLCh lightness, chroma, hue in degrees.
_CONTROL_POINTS = {
    "heat": [  # violet, red, orange, yellow; ends well before white, which is the box
        [0.30, 0.13, 300.0],
        [0.412, 0.17, 325.0],
        [0.524, 0.19, 380.0],
        [0.636, 0.18, 405.0],
        [0.748, 0.15, 435.0],
        [0.86, 0.12, 465.0],
    ],
    "sea": [  # violet, blue, green, yellow
        [0.30, 0.10, 305.0],
        [0.43, 0.11, 270.0],
        [0.56, 0.085, 225.0],
        [0.69, 0.10, 180.0],
        [0.82, 0.13, 140.0],
        [0.95, 0.12, 110.0],
    ],
    "grey": [[0.30, 0.0, 0.0], [1.0, 0.0, 0.0]],
}
SCALES = tuple(_CONTROL_POINTS)
TO_REVIEW = (0.15, 0.1, 1.0)
"""The part that is left to the reviewer."""
REGION_BOX = (1.0, 1.0, 1.0)
_STRUCTURES = (
    (0.6, 0.85, 1.0),
    (0.7, 0.45, 0.95),
    (0.4, 0.65, 0.5),
    (0.35, 0.85, 0.95),
    (0.55, 0.5, 0.9),
    (0.15, 0.6, 0.55),
)
_OKLAB_TO_LMS = np.array(
    [[1.0, 0.3963377774, 0.2158037573], [1.0, -0.1055613458, -0.0638541728], [1.0, -0.0894841775, -1.2914855480]]
)
_LMS_TO_LINEAR_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


def heat_scale(count: int = 256, scale: str = "heat") -> np.ndarray:
    """Return `count` sRGB colours `[count, 3]` in [0, 1], dark to light; `scale` is one of `SCALES`."""
    points = np.array(_CONTROL_POINTS[scale])
    position, anchors = np.linspace(0.0, 1.0, count), np.linspace(0.0, 1.0, len(points))
    lightness, chroma, hue = (np.interp(position, anchors, column) for column in points.T)
    angle = np.deg2rad(hue)
    oklab = np.stack([lightness, chroma * np.cos(angle), chroma * np.sin(angle)], axis=-1)
    linear = np.clip((oklab @ _OKLAB_TO_LMS.T) ** 3 @ _LMS_TO_LINEAR_RGB.T, 0.0, 1.0)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def heat_table(scene: slicer.vtkMRMLScene, scale: str = "heat") -> slicer.vtkMRMLColorTableNode:
    """Return the scene's colour table of that scale for risk maps, made on the first call."""
    name = TABLE_NAME if scale == "heat" else f"{TABLE_NAME} {scale}"
    table = scene.GetFirstNodeByName(name)
    if table is None or not table.IsA("vtkMRMLColorTableNode"):
        table = scene.AddNewNodeByClass("vtkMRMLColorTableNode", name)
        table.SetTypeToUser()
        table.SetDescription("Risk maps: dark is low, light is high; lightness rises evenly.")
        colors = heat_scale(scale=scale)
        table.SetNumberOfColors(len(colors))
        for index, color in enumerate(colors):
            table.SetColor(index, f"{index / (len(colors) - 1):.0%}", *color, 1.0)
    return table


def structure_color(index: int) -> tuple[float, float, float]:
    """Return the colour, red, green and blue in [0, 1], of structure number `index`: one of six, in turn."""
    return _STRUCTURES[index % len(_STRUCTURES)]
