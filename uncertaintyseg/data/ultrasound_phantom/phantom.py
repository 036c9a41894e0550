"""One case: a fetal head as a probe shows it, where its parts truly lie, and where three people draw them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from uncertaintyseg.data.ellipse import Ellipse
from uncertaintyseg.data.ultrasound_phantom.growth import Sizes, draw_pathology, draw_sizes
from uncertaintyseg.data.ultrasound_phantom.head import Bend, Head, Pose
from uncertaintyseg.data.ultrasound_phantom.scanner import (
    Beams,
    Probe,
    Tissue,
    incidence,
    pixel_positions,
    scan,
    to_pixels,
)
from uncertaintyseg.errors import InputError

LABELS = {"parenchyma": 1, "cavum septi pellucidi": 2, "lateral ventricles": 3}
SHIFTS = ("none", "elastic", "acquisition")
FRAMES = 16
"""Of a sweep."""
RATER_BIAS_MM = (0.0, 0.5, -0.5)
"""How much further out each rater draws every border; a fourth begins again."""


@dataclass(frozen=True)
class UltrasoundPhantom:
    """One simulated case of Z frames, 1 for an image. Volumes are `[X, Y, Z]`: columns from left, rows from the top.

    Attributes:
        image: uint8 grey values.
        label: uint8, the truth: 0 background, 1 parenchyma and skull, 2 cavum septi pellucidi, 3 lateral ventricles.
        raters: uint8 `[R, X, Y, Z]`: what each rater drew.
        spacing: Of a pixel in both directions, mm.
        ellipses: The skull's outer border in each frame: mm from the centre of the first pixel, radians from x to y.
        sizes: Of the head in its trans-thalamic plane.
        middle: The frame of that plane.
        probe: The machine and its settings.
        planes: mm of each frame from that plane, towards the vertex.
        shift: "none", "elastic" or "acquisition".
    """

    image: np.ndarray
    label: np.ndarray
    raters: np.ndarray
    spacing: float
    ellipses: list[Ellipse]
    sizes: Sizes
    middle: int
    probe: Probe
    planes: list[float]
    shift: str

    @property
    def affine(self) -> np.ndarray:
        """4x4, voxel to RAS+ mm, as ITK places a picture: columns to the left, rows to the back."""
        return np.diag([-self.spacing, -self.spacing, 1.0, 1.0])

    def areas(self, frame: int) -> dict[str, float]:
        """Area of each structure in a frame, mm2."""
        return {
            name: float((self.label[..., frame] == value).sum()) * self.spacing**2 for name, value in LABELS.items()
        }


def make_ultrasound(
    seed: int | Sequence[int],
    *,
    size: int = 256,
    pathology: float = 0.0,
    shift: str = "none",
    clip: bool = False,
    raters: int = 3,
) -> UltrasoundPhantom:
    """Simulate one case; the same seed gives the same case, bit for bit, on the same machine.

    Anatomy, machine, scatterers and raters draw from streams of their own: a shift or a pathology leaves all else of a
    case as it is.

    Args:
        seed: Seed of `numpy.random.default_rng`.
        size: Pixels of the square picture, 64 or more.
        pathology: Probability of one, 0 to 1.
        shift: "elastic" bends the head smoothly, "acquisition" sets another machine: gain, frequency, dynamic range and
            field of view.
        clip: A sweep of 16 frames across the plane instead of one image; the head moves with breath and turns.
        raters: How many people draw it.

    Raises:
        InputError: An argument is out of its range.
    """
    if size < 64 or not 0 <= pathology <= 1 or shift not in SHIFTS or raters < 1:
        raise InputError(
            f"size {size}, pathology {pathology}, shift {shift!r}, {raters} raters: size must be at least 64, "
            f"pathology between 0 and 1, shift one of {', '.join(SHIFTS)}, and there must be a rater"
        )
    body, machine, grains, hands, illness, bending = np.random.default_rng(seed).spawn(6)
    sizes = draw_pathology(draw_sizes(body), illness, pathology)
    bend = _bend(bending, sizes) if shift == "elastic" else None
    head = Head(sizes, (body.uniform(0.24, 0.30), body.uniform(0.36, 0.44)), bend)
    probe, pose, spacing = _set_up(machine, sizes, size, wide=shift == "acquisition")
    tissue, beams = Tissue(grains, sweep=clip), Beams(probe)
    pixels = beams.pixels(size, spacing)
    poses, planes = _sweep(machine, pose, sizes) if clip else ([pose], [0.0])
    people = [_Rater(hands, n, size) for n in range(raters)]

    images, labels, drawn, ellipses = [], [], [], []
    for where, z in zip(poses, planes, strict=True):
        plane = head.at(z)
        images.append(to_pixels(scan(plane, where, probe, tissue, beams, grains, z), pixels))
        distances = _distances(plane, where, size, spacing)
        labels.append(_label(*distances))
        seen = _hidden(plane, where, probe, size, spacing)
        drawn.append([person.draw(*distances, *seen) for person in people])
        ellipse = plane.ellipse(where)
        corner = spacing * (size / 2 - 0.5), -0.5 * spacing
        ellipses.append(replace(ellipse, x=ellipse.x + corner[0], y=ellipse.y + corner[1]))
    return UltrasoundPhantom(
        image=np.stack(images, -1),
        label=np.stack(labels, -1),
        raters=np.stack([np.stack(frames, -1) for frames in zip(*drawn, strict=True)]),
        spacing=spacing,
        ellipses=ellipses,
        sizes=sizes,
        middle=int(np.argmin(np.abs(planes))),
        probe=probe,
        planes=planes,
        shift=shift,
    )


def _set_up(rng: np.random.Generator, sizes: Sizes, size: int, *, wide: bool) -> tuple[Probe, Pose, float]:
    """Set a machine to a head: probe, where the head lies, and spacing in mm."""
    share = rng.uniform(0.68, 0.80)  # of the picture's width
    angle, facing = rng.normal(0, 0.2), int(rng.choice((-1, 1)))
    angle = float(np.clip(angle, -0.45, 0.45))
    numbers, other = rng.random(8).tolist(), rng.random(4).tolist()
    if wide:
        share *= 0.62 + 0.13 * other[3]
    extent = 2 * sizes.long / share
    half = float(np.hypot(sizes.long * np.sin(angle), sizes.short * np.cos(angle)))
    free = extent - 2 * half
    probe = Probe(
        radius=45 + 15 * numbers[0],
        half_angle=math.radians(34 + 4 * numbers[1]),
        top=0.02 * extent,
        depth=0.96 * extent,
        focus=(0.45 + 0.2 * numbers[2]) * extent,
        megahertz=4.2 + 1.2 * numbers[3] - 0.05 * (sizes.age - 18),
        gain_db=-3 + 6 * numbers[4],
        range_db=57 + 8 * numbers[5],
        tilt_db=-4 + 8 * numbers[6],
    )
    if wide:
        probe = replace(
            probe,
            half_angle=math.radians(30 + 3 * numbers[1]),
            megahertz=2.2 + 0.6 * other[0],
            gain_db=-10 + 6 * other[1] if other[1] < 0.5 else 4 + 6 * other[1],
            range_db=42 + 6 * other[2],
            noise_db=-40.0,
        )
    y = half + (0.40 + 0.2 * numbers[7]) * free
    return probe, Pose(rng.normal(0, 0.015) * extent, y, angle, facing), extent / size


def _sweep(rng: np.random.Generator, pose: Pose, sizes: Sizes) -> tuple[list[Pose], list[float]]:
    """Poses and planes of a sweep: the probe glides across the plane while the mother breathes and the head turns."""
    t = np.linspace(-1, 1, FRAMES)
    way = rng.choice((-1, 1)) * rng.uniform(4.0, 6.0)
    planes = way * np.sign(t) * np.abs(t) ** 1.2
    breath = rng.uniform(0, 2 * np.pi) + np.pi * rng.uniform(1.2, 2.0) * t
    turn = np.radians(rng.uniform(2, 6)) * rng.choice((-1, 1)) * t
    lift, slide = rng.uniform(0.015, 0.03, 2) * 2 * sizes.long
    still = breath[FRAMES // 2]
    poses = [
        replace(
            pose,
            x=float(pose.x + slide * k),
            y=float(pose.y + lift * (np.sin(b) - np.sin(still))),
            angle=float(pose.angle + w),
        )
        for k, b, w in zip(t, breath, turn, strict=True)
    ]
    return poses, [float(z) for z in planes]


def _bend(rng: np.random.Generator, sizes: Sizes) -> Bend:
    """Four waves somewhat longer than half the head, whose displacements add up to a tenth of its semi-axis."""
    count = 4
    length = sizes.long * rng.uniform(0.9, 1.6, count)
    course = rng.uniform(0, np.pi) + np.arange(count) * np.pi / count
    waves = (2 * np.pi / length)[:, None] * np.stack([np.cos(course), np.sin(course)], -1)
    push = rng.uniform(0, 2 * np.pi, count)
    amplitudes = 0.026 * sizes.long * np.stack([np.cos(push), np.sin(push)], -1)
    return Bend(amplitudes, waves, rng.uniform(0, 2 * np.pi, count))


def _distances(head: Head, pose: Pose, size: int, spacing: float) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """To skull, cavum and both ventricles at each pixel."""
    u, v = head.unbent(*pose.into_head(*pixel_positions(size, spacing)))
    return head.skull(u, v), head.cavum(u, v), [head.ventricle(u, v, side)[0] for side in (0, 1)]


def _label(skull: np.ndarray, cavum: np.ndarray, ventricles: Sequence[np.ndarray]) -> np.ndarray:
    label = (skull < 0).astype(np.uint8) * LABELS["parenchyma"]
    label[(np.minimum(*ventricles) < 0) & (skull < 0)] = LABELS["lateral ventricles"]
    label[(cavum < 0) & (skull < 0)] = LABELS["cavum septi pellucidi"]
    return label


def _hidden(head: Head, pose: Pose, probe: Probe, size: int, spacing: float) -> tuple[np.ndarray, tuple[float, float]]:
    """Where the skull fades, 0 to 1 at each pixel, and how far the haze hides each ventricle."""
    fades = 1 - incidence(head, pose, probe, *pixel_positions(size, spacing))
    near = float(pose.into_picture(0.0, 1.0)[1] < pose.y)  # 1 where the side of positive v lies above
    return fades, (1 - near, near)


class _Rater:
    """One person's hand: a bias of their own, another of the case, and a slow wobble along the border, all in mm."""

    def __init__(self, rng: np.random.Generator, number: int, size: int) -> None:
        bias = RATER_BIAS_MM[number % len(RATER_BIAS_MM)]
        self.skull, self.cavum, *self.ventricles = (
            bias * scale + rng.normal(0, sd) for scale, sd in ((1.0, 0.3), (0.5, 0.2), (0.8, 0.25), (0.8, 0.25))
        )
        self.guess = rng.normal(0, 0.5, 2)
        self._wobbles = [_smooth(rng, size, size / knots) for knots in (7, 12, 9)]

    def draw(self, skull, cavum, ventricles, fades, hazy) -> np.ndarray:
        """Their label; they disagree more where bone fades and where haze lies over a ventricle."""
        wobble = self._wobbles
        outer = skull - self.skull - (0.4 + 1.4 * fades) * wobble[0]
        inner = [
            distance - (shift + haze * guess + (0.35 + 0.45 * haze) * wobble[2])
            for distance, shift, haze, guess in zip(ventricles, self.ventricles, hazy, self.guess, strict=True)
        ]
        return _label(outer, cavum - self.cavum - 0.3 * wobble[1], inner)


def _smooth(rng: np.random.Generator, size: int, pixels: float) -> np.ndarray:
    """Gaussian random field `[X, Y]` of unit variance that varies over some pixels."""
    n = np.arange(size, dtype=np.float32)
    knots = np.arange(-2 * pixels, size + 2.5 * pixels, pixels, dtype=np.float32)
    bumps = np.exp(-(((n[:, None] - knots) / np.float32(pixels)) ** 2))
    bumps /= np.linalg.norm(bumps, axis=1, keepdims=True)
    return bumps @ rng.standard_normal((len(knots), len(knots)), dtype=np.float32) @ bumps.T
