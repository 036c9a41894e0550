"""A CT-like phantom whose true border is, in places, not in the image.

A small abdomen in the portal-venous phase: an enhancing organ with lesions, whose border towards a neighbour of nearly
the same density drowns in noise. Simulated raters agree where the border shows and differ, smoothly and coherently,
where it does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from uncertaintyseg.data.writing import write_volume

LABELS = {"organ": 1, "lesion": 2}

# Hounsfield units
_AIR, _FAT, _MUSCLE, _BOWEL, _DISC, _MARROW, _BONE = -1000.0, -100.0, 50.0, 25.0, 85.0, 190.0, 420.0
_ORGAN, _NEIGHBOUR, _VESSEL, _KIDNEY = 110.0, 104.0, 155.0, 175.0
_NOISE_SD = 15.0
_SLICE_OVERSAMPLING = 2  # fine slices per slice; their mean is the slice profile
_EDGE_MM = 0.8  # width over which one tissue passes into the next


@dataclass(frozen=True)
class Phantom:
    """One simulated case. All volumes are `[X, Y, Z]`."""

    image: np.ndarray
    """float32, whole Hounsfield units."""
    label: np.ndarray
    """uint8: 0 background, 1 organ, 2 lesion, as one rater drawn at random saw it."""
    raters: np.ndarray
    """uint8 `[R, X, Y, Z]`: what each rater drew."""
    affine: np.ndarray
    """Voxel to RAS+ mm."""
    reference: int
    """Which rater `label` is."""


def make_phantom(
    seed: int | Sequence[int],
    *,
    shape: tuple[int, int, int] = (64, 64, 32),
    spacing: tuple[float, float, float] = (1.5, 1.5, 3.0),
    raters: int = 3,
    oblique_degrees: float = 0.0,
    flip: bool = False,
) -> Phantom:
    """Simulate one case; the same seed gives the same case, bit for bit.

    Args:
        seed: Seed of `numpy.random.default_rng`.
        shape: Mean grid size; each case varies by up to 4 voxels in the plane and 2 slices.
        spacing: Mean voxel size in mm; each case varies by up to 6 %.
        raters: How many people draw it.
        oblique_degrees: How far the scan's axes are turned about a random axis.
        flip: Store the first axis from right to left.
    """
    rng = np.random.default_rng(seed)
    size = np.array(shape) + rng.integers((-4, -4, -2), (5, 5, 3))
    voxel = np.array(spacing) * rng.uniform(0.94, 1.06, 3)
    fine = _Grid(tuple(size * (1, 1, _SLICE_OVERSAMPLING)), voxel / (1, 1, _SLICE_OVERSAMPLING), rng)

    wall, spine, hu = _body(fine)
    organ = _organ(fine, wall, spine)
    neighbour = _neighbour(fine, organ, wall, spine)
    lesions = _lesions(fine, organ)
    hu = _paint(hu, neighbour, _NEIGHBOUR + 4 * fine.smooth(6))
    hu = _paint(hu, organ, _ORGAN + 4 * fine.smooth(6) + _vessel_tree(fine))
    for lesion in lesions:
        hu = _paint(hu, lesion.distance, _ORGAN - lesion.contrast + 4 * fine.smooth(4), lesion.edge_mm)

    drawn = np.stack([_draw(fine, organ, neighbour, lesions) for _ in range(raters)])
    reference = int(rng.integers(raters))
    image = np.maximum(np.rint(_slices(gaussian_filter(hu, (0.5, 0.5, 0.0))) + _noise(rng, size)), -1024)
    affine = _affine(rng, size, voxel, oblique_degrees)
    if flip:
        image, drawn = image[::-1], drawn[:, ::-1]
        affine = affine @ np.array([[-1, 0, 0, size[0] - 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    return Phantom(image.astype(np.float32), drawn[reference].copy(), drawn.copy(), affine, reference)


def write_phantoms(
    folder: str | Path, count: int, seed: int = 0, progress: Callable[[str, float], None] | None = None
) -> list[str]:
    """Write `images/`, `labels/` and `raters/<id>_<n>.nii.gz`, so that any reader of images and labels can train on it.

    Case `i` depends on `seed` and `i` only, so a longer run begins with the cases of a shorter one.

    Args:
        folder: Made where missing.
        count: Number of cases.
        seed: Seed of the whole set; the committed split and the shipped weights belong to 0.
        progress: Called with the id of each case and the fraction done.

    Returns:
        The ids `phantom_000`, `phantom_001`, ...

    Raises:
        InputError: The folder cannot be written.
    """
    folder, ids = Path(folder), [f"phantom_{i:03d}" for i in range(count)]
    for i, case_id in enumerate(ids):
        case = make_phantom((seed, i))
        write_volume(folder / "images" / f"{case_id}.nii.gz", case.image, case.affine)
        write_volume(folder / "labels" / f"{case_id}.nii.gz", case.label, case.affine)
        for n, rater in enumerate(case.raters, start=1):
            write_volume(folder / "raters" / f"{case_id}_{n}.nii.gz", rater, case.affine)
        if progress is not None:
            progress(case_id, (i + 1) / count)
    return ids


class _Grid:
    """Positions in mm about the centre: x to the patient's right, y to the front, z to the head."""

    def __init__(self, shape: Sequence[int], spacing: Sequence[float], rng: np.random.Generator) -> None:
        self.rng = rng
        self.axes = [
            (np.arange(n, dtype=np.float32) - (n - 1) / 2) * np.float32(s) for n, s in zip(shape, spacing, strict=True)
        ]
        self.x, self.y, self.z = np.meshgrid(*self.axes, indexing="ij", sparse=True)

    def smooth(self, correlation_mm: float) -> np.ndarray:
        """Gaussian random field of zero mean, unit variance and squared-exponential correlation."""
        weights = []
        for axis in self.axes:  # white noise at knots, spread by Gaussian bumps
            knots = np.arange(axis[0] - 2 * correlation_mm, axis[-1] + 2.5 * correlation_mm, correlation_mm)
            bumps = np.exp(-(((axis[:, None] - knots) / correlation_mm) ** 2)).astype(np.float32)
            weights.append(bumps / np.linalg.norm(bumps, axis=1, keepdims=True))
        values = self.rng.standard_normal([w.shape[1] for w in weights], dtype=np.float32)
        for w in weights:  # each step contracts the first axis and appends its result last
            values = np.tensordot(values, w, axes=(0, 1))
        return values

    def ellipsoid(self, centre: Sequence[float], radii: Sequence[float]) -> np.ndarray:
        """Distance to the surface in mm, to first order; negative inside."""
        offsets = [axis - c for axis, c in zip((self.x, self.y, self.z), centre, strict=True)]
        k0 = np.sqrt(sum((o / r) ** 2 for o, r in zip(offsets, radii, strict=True)))
        k1 = np.sqrt(sum((o / r**2) ** 2 for o, r in zip(offsets, radii, strict=True)))
        return k0 * (k0 - 1) / np.maximum(k1, 1e-6)

    def tube(self, x: float, y: float, radius: float) -> np.ndarray:
        """Distance to a tube along z."""
        return np.hypot(self.x - x, self.y - y) - radius + np.zeros_like(self.z)

    def pick(self, allowed: np.ndarray) -> tuple[float, float, float]:
        """A random position among the allowed voxels."""
        index = np.unravel_index(self.rng.choice(np.flatnonzero(allowed)), allowed.shape)
        return tuple(float(axis[i]) for axis, i in zip(self.axes, index, strict=True))

    def jitter(self, values: Sequence[float], by: float) -> list[float]:
        """Each value moved by up to `by`, uniformly."""
        return [v + self.rng.uniform(-by, by) for v in values]


@dataclass(frozen=True)
class _Lesion:
    distance: np.ndarray
    contrast: float
    edge_mm: float


def _body(grid: _Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distances to the abdominal wall's inside and to the spine, and HU of everything but organ and neighbour."""
    skin = grid.ellipsoid((0, 0, 0), (*grid.jitter((44, 37), 2), 400)) + grid.smooth(30)
    fascia = skin + 4.5 + grid.smooth(20)
    wall = fascia + 4.5
    hu = _paint(np.full_like(skin, _AIR), skin, _FAT + 5 * grid.smooth(6))
    hu = _paint(hu, fascia, _MUSCLE + 5 * grid.smooth(5))
    hu = _paint(hu, wall, _FAT + 12 * grid.smooth(5))

    level = (grid.z + grid.rng.uniform(0, 15) + 0.6 * grid.y) % 15 - 7.5
    rib = np.maximum.reduce([np.abs(wall - 1.5) - 2, np.abs(level) - 2.5 + 0 * wall, grid.y - 16 + 0 * wall])
    hu = _paint(hu, rib, 0.7 * _BONE)

    x, y = grid.jitter((0, -17), 1)
    vertebra, canal = grid.tube(x, y, 8.5), grid.tube(x, y - 12, 3.5)
    between = np.abs((grid.z + grid.rng.uniform(0, 20)) % 20 - 10) - 8  # positive in the discs
    spine = np.minimum(vertebra, np.abs(canal) - 2)
    hu = _paint(hu, grid.ellipsoid((x, y - 10, 0), (20, 8, 400)), _MUSCLE + 6 * grid.smooth(4))
    hu = _paint(hu, spine, _BONE + 30 * grid.smooth(4))
    hu = _paint(hu, np.maximum(vertebra + 2, between + 2), _MARROW + 25 * grid.smooth(3))
    hu = _paint(hu, np.maximum(vertebra, -between), _DISC)
    hu = _paint(hu, canal + 1, 20.0)
    return wall, spine, _left_abdomen(grid, hu)


def _left_abdomen(grid: _Grid, hu: np.ndarray) -> np.ndarray:
    """Great vessels, kidney, and bowel with gas."""
    hu = _paint(hu, grid.tube(*grid.jitter((-6, -4), 1), 4.5), _VESSEL)
    hu = _paint(hu, grid.tube(*grid.jitter((7, -5), 1), 4.5), 0.85 * _VESSEL)
    kidney = grid.ellipsoid(grid.jitter((-21, -10, -8), 2), (7.5, 8.5, 17)) + 0.6 * grid.smooth(8)
    hu = _paint(hu, kidney, _KIDNEY + 8 * grid.smooth(5))
    hu = _paint(hu, kidney + 5, 0.8 * _KIDNEY)
    for low in (-30.0, -8.0, 16.0):
        x, y, z = grid.jitter((-20, 10, low), 4)
        loop = grid.ellipsoid((x, y, z), grid.jitter((10, 8, 11), 2)) + grid.smooth(7)
        hu = _paint(hu, loop, _MUSCLE + 15)
        hu = _paint(hu, loop + 2, _BOWEL + 10 * grid.smooth(4))
        hu = _paint(hu, np.maximum(loop + 2, y + grid.rng.uniform(1, 6) - grid.y), -850.0)  # gas rises to the front
    return hu


def _organ(grid: _Grid, wall: np.ndarray, spine: np.ndarray) -> np.ndarray:
    """Distance to the surface of a liver-like organ of two lobes, kept clear of wall and spine."""
    right = grid.ellipsoid(grid.jitter((17, 3, 0), 3), grid.jitter((18, 21, 29), 3))
    left = grid.ellipsoid(grid.jitter((0, 15, 6), 3), grid.jitter((18, 9, 15), 2))
    blend = np.maximum(4 - np.abs(right - left), 0) / 4
    lobes = np.minimum(right, left) - blend**2  # smooth union
    return np.maximum.reduce([lobes + 2.2 * grid.smooth(12), wall + 1.5, 1.5 - spine])


def _neighbour(grid: _Grid, organ: np.ndarray, wall: np.ndarray, spine: np.ndarray) -> np.ndarray:
    """Distance to a look-alike (bowel, muscle, another gland) that touches the organ somewhere at random."""
    centre = grid.pick((organ > 3) & (organ < 7) & (wall < -7) & (spine > 7) & (np.abs(grid.z) < 26))
    gland = grid.ellipsoid(centre, grid.jitter((12.5, 12.5, 14.5), 2)) + 1.2 * grid.smooth(8)
    return np.maximum.reduce([gland, wall + 1.5, 1.5 - spine])


def _lesions(grid: _Grid, organ: np.ndarray) -> list[_Lesion]:
    lesions = []
    for _ in range(grid.rng.choice(4, p=(0.15, 0.35, 0.3, 0.2))):
        radius = grid.rng.uniform(4.0, 8.5)
        centre = grid.pick(organ < max(-0.9 * radius, 0.9 * float(organ.min())))
        distance = grid.ellipsoid(centre, grid.jitter([radius] * 3, 0.2 * radius)) + 0.15 * radius * grid.smooth(5)
        lesions.append(_Lesion(distance, grid.rng.uniform(20, 55), grid.rng.uniform(1.0, 3.5)))
    return lesions


def _vessel_tree(grid: _Grid) -> np.ndarray:
    """HU that vessels add: two random fields vanish together along curves."""
    return 40 * np.exp(-(grid.smooth(10) ** 2 + grid.smooth(10) ** 2) / 0.025)


def _draw(grid: _Grid, organ: np.ndarray, neighbour: np.ndarray, lesions: Sequence[_Lesion]) -> np.ndarray:
    """One rater's labels: the true borders with smooth shifts, by more millimetres where nothing shows the border."""
    rng = grid.rng
    hidden = 1 / (1 + np.exp(np.clip(neighbour - 1.5, -20, 20)))  # 1 inside the neighbour, 0 from 5 mm away
    visible = np.minimum(organ, neighbour)  # nobody takes fat for the organ
    shift = rng.normal(0, 0.4) + 0.5 * grid.smooth(9)
    guess = hidden * (rng.normal(0, 2.8) + 1.2 * grid.smooth(7))
    border = np.maximum(organ + guess, visible) + shift
    drawn = (_slices(border) < 0).astype(np.uint8) * LABELS["organ"]
    for lesion in lesions:
        if rng.random() < lesion.contrast / 30:  # the faintest are missed by one in three
            blur = rng.normal(0, 0.2 + 0.25 * lesion.edge_mm) + 0.4 * grid.smooth(5)
            drawn[_slices(lesion.distance + blur) < 0] = LABELS["lesion"]
    return drawn


def _paint(hu: np.ndarray, distance: np.ndarray, value: np.ndarray | float, edge_mm: float = _EDGE_MM) -> np.ndarray:
    """Lay a tissue over the rest; across its surface both mix over `edge_mm`."""
    share = np.clip(0.5 - distance / edge_mm, 0, 1)
    return hu + share * (value - hu)


def _slices(fine: np.ndarray) -> np.ndarray:
    """Average fine slices into thick ones: partial volume for HU, the mid-slice border for distances."""
    return fine.reshape(*fine.shape[:2], -1, _SLICE_OVERSAMPLING).mean(-1)


def _noise(rng: np.random.Generator, shape: Sequence[int]) -> np.ndarray:
    noise = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), (0.7, 0.7, 0.3))
    return noise * (_NOISE_SD / noise.std())


def _affine(rng: np.random.Generator, shape: np.ndarray, spacing: np.ndarray, degrees: float) -> np.ndarray:
    """The grid's centre lies somewhere within 50 mm of the scanner's."""
    axis = rng.standard_normal(3)
    affine = np.eye(4)
    turn = Rotation.from_rotvec(np.radians(degrees) * axis / np.linalg.norm(axis)).as_matrix()
    affine[:3, :3] = turn * spacing
    affine[:3, 3] = rng.uniform(-50, 50, 3) - affine[:3, :3] @ ((shape - 1) / 2)
    return affine
