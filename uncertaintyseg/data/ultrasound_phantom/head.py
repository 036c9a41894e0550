"""The trans-thalamic plane of a fetal head as distances to its surfaces, in mm.

The head's own axes are `u`, from the occiput to the brow, and `v`, from side to side; (0, 0) is the skull's centre.
Distances are negative inside and true to first order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from uncertaintyseg.data.ellipse import Ellipse, fit_ellipse
from uncertaintyseg.data.ultrasound_phantom.growth import Sizes

_CAVUM_AT = 0.40  # of the long semi-axis
_ATRIUM = 0.42  # where a ventricle is widest, as a share of its length
_BELOW_VERTEX_MM, _CAVUM_DEEP_MM, _VENTRICLES_DEEP_MM = 1.1, 7.0, 11.0  # first: in short semi-axes


@dataclass(frozen=True)
class Bend:
    """A smooth displacement of a plane: a sum of waves.

    Attributes:
        amplitudes: `[K, 2]` mm.
        waves: `[K, 2]` radians per mm.
        phases: `[K]` radians.
    """

    amplitudes: np.ndarray
    waves: np.ndarray
    phases: np.ndarray

    def __call__(self, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the displaced positions."""
        du, dv = np.zeros_like(u), np.zeros_like(v)
        for (au, av), (ku, kv), phase in zip(self.amplitudes, self.waves, self.phases, strict=True):
            wave = np.sin(np.float32(ku) * u + np.float32(kv) * v + np.float32(phase))
            du, dv = du + np.float32(au) * wave, dv + np.float32(av) * wave
        return u + du, v + dv


@dataclass(frozen=True)
class Pose:
    """Where a head lies in the picture: mm from the top of the picture's middle, x to the right and y downwards."""

    x: float
    y: float
    angle: float
    """Radians from x towards y, of the long axis."""
    facing: int
    """1 where the brow lies on the side to which the angle points, -1 opposite."""

    def into_head(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions of the picture in the head's axes."""
        c, s = np.float32(np.cos(self.angle)), np.float32(np.sin(self.angle))
        dx, dy = x - np.float32(self.x), y - np.float32(self.y)
        return np.float32(self.facing) * (c * dx + s * dy), c * dy - s * dx

    def into_picture(self, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The way back."""
        c, s = np.cos(self.angle), np.sin(self.angle)
        along = self.facing * u
        return self.x + c * along - s * v, self.y + s * along + c * v


@dataclass(frozen=True)
class Head:
    """One head, or a plane of it beside the trans-thalamic one (`at`)."""

    sizes: Sizes
    spread: tuple[float, float]
    """How far the ventricles' ends lie from the midline, as shares of the short semi-axis."""
    bend: Bend | None = None

    def at(self, z: float) -> Head:
        """The plane `z` mm towards the vertex (positive) or the base: smaller, and what lies in it comes and goes."""
        s = self.sizes
        scale = float(np.sqrt(max(0.05, 1 - (z / (_BELOW_VERTEX_MM * s.short)) ** 2)))
        cavum = float(np.sqrt(max(0.0, 1 - (z / _CAVUM_DEEP_MM) ** 2)))
        width = float(np.sqrt(max(0.0, 1 - ((z - 1.5) / _VENTRICLES_DEEP_MM) ** 2)))
        width /= float(np.sqrt(1 - (1.5 / _VENTRICLES_DEEP_MM) ** 2))
        sizes = replace(
            s,
            long=s.long * scale,
            short=s.short * scale,
            circumference=s.circumference * scale,
            ventricles=(s.ventricles[0] * width * scale, s.ventricles[1] * width * scale),
            cavum=(s.cavum[0] * cavum * scale, s.cavum[1] * cavum * scale),
        )
        return replace(self, sizes=sizes)

    def unbent(self, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where positions would lie in the head before it was bent: every distance below is asked there."""
        return self.bend(u, v) if self.bend else (u, v)

    def skull(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """To the outer border of the skull."""
        return oval(u, v, self.sizes.long, self.sizes.short)

    def cavum(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """To the cavum septi pellucidi, a box with round corners; far from everything where it is absent."""
        width, length = self.sizes.cavum
        if width < 0.3:
            return np.full(np.broadcast(u, v).shape, np.float32(1e3))
        corner = 0.35 * width
        du = np.abs(u - np.float32(_CAVUM_AT * self.sizes.long)) - np.float32(length / 2 - corner)
        dv = np.abs(v) - np.float32(width / 2 - corner)
        outside = np.hypot(np.maximum(du, 0), np.maximum(dv, 0))
        return outside + np.minimum(np.maximum(du, dv), 0) - np.float32(corner)

    def ventricle(self, u: np.ndarray, v: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
        """To one lateral ventricle (its body, atrium and occipital horn), and the place along it, 0 in front to 1.

        Args:
            u: Unbent positions.
            v: Unbent positions.
            side: 0 for negative `v`, 1 for positive.
        """
        a, b, width = self.sizes.long, self.sizes.short, self.sizes.ventricles[side]
        if width < 0.3:
            return np.full(np.broadcast(u, v).shape, np.float32(1e3)), np.zeros_like(u)
        across = v if side else -v
        start, end = (-0.10 * a, self.spread[0] * b), (-0.63 * a, self.spread[1] * b)
        length = float(np.hypot(end[0] - start[0], end[1] - start[1]))
        du, dv = (np.float32((e - s) / length) for s, e in zip(start, end, strict=True))
        from_u, from_v = u - np.float32(start[0]), across - np.float32(start[1])
        t = np.clip((from_u * du + from_v * dv) / np.float32(length), 0, 1)
        bow = np.float32(0.24 * b) * t * (1 - t)  # away from the midline
        along = np.float32(length) * t
        distance = np.hypot(from_u - along * du - bow * dv, from_v - along * dv + bow * du)
        radius = np.float32(width / 2) * _profile(t)
        return distance - radius, t

    def ellipse(self, pose: Pose) -> Ellipse:
        """The skull's outer border in the picture, as `Pose` has it; of a bent head the ellipse that fits it best."""
        s = self.sizes
        if self.bend is None:
            return Ellipse(pose.x, pose.y, s.long, s.short, pose.angle)
        turn = np.linspace(0, 2 * np.pi, 720, endpoint=False)
        u0, v0 = s.long * np.cos(turn), s.short * np.sin(turn)
        u, v = u0, v0
        for _ in range(40):  # the border is where the bend leads onto the plain ellipse
            bent = self.bend(u, v)
            u, v = u + u0 - bent[0], v + v0 - bent[1]
        return fit_ellipse(*pose.into_picture(u, v))


def oval(u: np.ndarray, v: np.ndarray, a: float, b: float) -> np.ndarray:
    """Distance to an ellipse about (0, 0) with semi-axes a and b, to first order."""
    a, b = np.float32(a), np.float32(b)
    k0 = np.hypot(u / a, v / b)
    k1 = np.hypot(u / a**2, v / b**2)
    return k0 * (k0 - 1) / np.maximum(k1, np.float32(1e-6))


def _profile(t: np.ndarray) -> np.ndarray:
    """Half-width of a ventricle along its length, over that of its atrium."""
    rise = np.clip(t / np.float32(_ATRIUM), 0, 1)
    fall = np.clip((t - np.float32(_ATRIUM)) / np.float32(1 - _ATRIUM), 0, 1)
    return np.float32(0.45) + np.float32(0.55) * np.sin(rise * np.float32(np.pi / 2)) - np.float32(0.5) * fall**2
