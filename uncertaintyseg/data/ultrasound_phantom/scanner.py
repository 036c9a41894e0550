"""What a curved ultrasound probe makes of a fetal head.

Echoes are made beam by beam, where physics is simple: scatterers (a complex Gaussian field that lies still in the head,
so that speckle moves with it from frame to frame) and mirrors (bone, falx, walls) are weakened on their way by what
they lie behind, blurred by the point spread function, whose width across the beams grows away from the focus, and
amplified by depth. The envelope is compressed logarithmically and brought from beams to pixels.

Goodman JW, Some fundamental properties of speckle, J Opt Soc Am 66:1145-1150 (1976): the envelope of fully developed
speckle is Rayleigh, its mean 1.91 standard deviations. Attenuation: Duck FA, Physical Properties of Tissue (1990).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.fft import fft, fftfreq, ifft, next_fast_len
from scipy.ndimage import gaussian_filter1d, map_coordinates

from uncertaintyseg.data.ultrasound_phantom.head import Head, Pose, oval

_SOUND_MM_US = 1.54
_STEPS, _BEAMS = 448, 192  # of depth along a beam, and beams
_GRAIN_MM, _GRAINS = 0.25, 384  # between scatterers, and a side of their field, which repeats
_KNOTS, _FINE = 48, 8  # of a cloud, and its grid's points between two of them
_PAD = 24  # beams of silence on each side, into which the blur runs
_PLANES_MM = 6.0  # across which scatterers change wholly, a quarter turn
_BLACK, _MOST_GAIN = -100.0, 5.0  # dB; what lies behind water alone is amplified too much, up to this

_BRAIN_SHOWN = 0.31  # of full white
# echoes in dB about brain; attenuation one way in dB / (mm MHz)
_BRAIN, _THALAMUS, _FLUID, _CHOROID, _SCALP, _MOTHER, _PLACENTA, _BONE = 0.0, -4.0, -26.0, 9.0, -2.0, 9.0, 6.0, 16.0
_MIRROR_BONE, _MIRROR_WALL, _MIRROR_FALX = 35.0, 12.0, 15.0
_LOSS_BRAIN, _LOSS_MOTHER, _LOSS_BONE = 0.025, 0.05, 0.36


@dataclass(frozen=True)
class Probe:
    """A machine and how it is set.

    Attributes:
        radius: Of the curved probe, mm.
        half_angle: Of the fan, radians.
        top: Where the probe touches the skin, mm below the picture's upper edge.
        depth: Of the picture, mm.
        focus: Depth of the narrowest beam, mm.
        megahertz: Centre frequency.
        gain_db: About that which shows brain at a third of full white.
        range_db: What is compressed into black to white.
        tilt_db: Error of the time gain compensation between top and bottom.
        noise_db: Of the receiver, about the echo of brain at the skin.
    """

    radius: float
    half_angle: float
    top: float
    depth: float
    focus: float
    megahertz: float
    gain_db: float = 0.0
    range_db: float = 60.0
    tilt_db: float = 0.0
    noise_db: float = -46.0

    @property
    def wavelength(self) -> float:
        """In mm."""
        return _SOUND_MM_US / self.megahertz

    @property
    def step(self) -> float:
        """Between two samples of a beam, mm."""
        return self.depth / _STEPS


class Beams:
    """The positions that a probe asks, `[R, T]`: R steps of depth along T beams."""

    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        self.depth = (np.arange(_STEPS, dtype=np.float32) * np.float32(probe.step))[:, None]
        self.r = self.depth + np.float32(probe.radius)
        self.theta = np.linspace(-probe.half_angle, probe.half_angle, _BEAMS, dtype=np.float32)[None]
        self.x = self.r * np.sin(self.theta)
        self.y = self.r * np.cos(self.theta) + np.float32(probe.top - probe.radius)

    @property
    def axial(self) -> float:
        """Standard deviation of the pulse along the beam, in steps: two cycles at half its height."""
        return 1.6 * self.probe.wavelength / 2.355 / self.probe.step

    @property
    def lateral(self) -> np.ndarray:
        """Standard deviation of the beam across the beams, in beams, `[R, 1]`: wider away from the focus."""
        probe = self.probe
        zone = 0.45 * probe.focus
        wide = 2.6 * probe.wavelength / 2.355 * np.sqrt(1 + ((self.depth - probe.focus) / zone) ** 2)
        return (wide / (self.r * (2 * probe.half_angle / (_BEAMS - 1)))).astype(np.float32)

    def pixels(self, size: int, spacing: float) -> np.ndarray:
        """Where the pixels `[X, Y]` of a picture lie among the beams, as `map_coordinates` asks."""
        x, y = pixel_positions(size, spacing)
        y = y - np.float32(self.probe.top - self.probe.radius)
        theta = (np.arctan2(x, y) / np.float32(2 * self.probe.half_angle) + np.float32(0.5)) * np.float32(_BEAMS - 1)
        return np.stack([(np.hypot(x, y) - np.float32(self.probe.radius)) / np.float32(self.probe.step), theta])


def pixel_positions(size: int, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """Centres of pixels in mm, x from the picture's middle `[X, 1]` and y from its upper edge `[1, Y]`."""
    n = np.arange(size, dtype=np.float32) + np.float32(0.5)
    return ((n - np.float32(size / 2)) * np.float32(spacing))[:, None], (n * np.float32(spacing))[None]


def envelope(scatterers: np.ndarray, mirrors: np.ndarray | float, beams: Beams) -> np.ndarray:
    """Blur echoes by the point spread function and take their magnitude.

    Args:
        scatterers: complex `[R, T]`, independent; where they have unit power the echo has it too, on average.
        mirrors: real, coherent amplitudes, blurred without loss where they vary slowly.
        beams: Where both lie.

    Returns:
        float32 `[R, T]`.
    """
    wide = np.maximum(beams.lateral, np.float32(0.3))
    keep = np.sqrt(2 * np.sqrt(np.pi) * wide) * np.float32(np.sqrt(2 * np.sqrt(np.pi) * beams.axial))
    echo = (scatterers * keep + mirrors).astype(np.complex64)
    echo = gaussian_filter1d(echo, beams.axial, axis=0, truncate=3)
    length = next_fast_len(echo.shape[1] + 2 * _PAD)
    wave = (2 * np.pi * fftfreq(length)).astype(np.float32)
    spectrum = fft(echo, length, axis=1) * np.exp(-0.5 * (wide * wave) ** 2)
    return np.abs(ifft(spectrum, axis=1)[:, : echo.shape[1]])


def white(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Circular complex Gaussian noise of unit power, complex64."""
    parts = rng.standard_normal((*shape, 2), dtype=np.float32) * np.float32(np.sqrt(0.5))
    return parts.view(np.complex64)[..., 0]


class Tissue:
    """The scatterers of one head and its mother, the same in every frame."""

    def __init__(self, rng: np.random.Generator, *, sweep: bool = False) -> None:
        """Draw them; those of a sweep change from plane to plane."""
        bumps = _bumps()
        clouds = bumps @ rng.standard_normal((_KNOTS, _KNOTS), dtype=np.float32) @ bumps.T
        self._clouds = clouds.ravel()
        self.wall = gaussian_filter1d(rng.standard_normal((2, _BEAMS)).astype(np.float32), 22, mode="reflect")
        self.wall /= self.wall.std()
        self.wall_mm = rng.uniform(1.5, 7, 2)  # of water over and under the head
        self.placenta = rng.choice((-1, 0, 0, 1)) * rng.uniform(0.8, 1.1)
        self.falx_mm = rng.normal(0, 0.25, 2)
        self.clutter_db = rng.uniform(-4, 4)
        self.insula = rng.uniform(0.56, 0.66), rng.uniform(6, 12)
        self._planes = [white(rng, (_GRAINS, _GRAINS)).ravel() for _ in range(1 + sweep)]

    def scatterers(self, beams: Beams, inside: np.ndarray, u: np.ndarray, v: np.ndarray, z: float) -> np.ndarray:
        """The field at each position: the head's move with it, the mother's stay."""
        half = np.float32(_GRAINS * _GRAIN_MM / 2)  # so that both differ where they meet
        place = _wrapped(np.where(inside, u, beams.x + half), np.where(inside, v, beams.y + half), _GRAIN_MM, _GRAINS)
        field = self._planes[0][place]
        if len(self._planes) > 1:
            phase = np.pi / 2 * min(max(z / _PLANES_MM, -1.0), 1.0)
            field = np.float32(np.cos(phase)) * field + np.float32(np.sin(phase)) * self._planes[1][place]
        return field

    def clouds(self, u: np.ndarray, v: np.ndarray, mm: float) -> np.ndarray:
        """A smooth random field of unit variance, whose knots lie `mm` apart."""
        return self._clouds[_wrapped(u, v, mm / _FINE, _KNOTS * _FINE)]


def _wrapped(u: np.ndarray, v: np.ndarray, mm: float, size: int) -> np.ndarray:
    """Place of each position in a flat field of `size` x `size` points, `mm` apart, that repeats."""
    i, j = (np.floor(p / np.float32(mm)).astype(np.int32) % size for p in (u, v))
    return i * size + j


def _bumps() -> np.ndarray:
    """Gaussian bumps round the knots of a ring, `[points, knots]`: noise at the knots becomes a smooth field."""
    apart = np.arange(_KNOTS * _FINE)[:, None] / _FINE - np.arange(_KNOTS)
    apart = np.minimum(np.abs(apart), _KNOTS - np.abs(apart))
    bumps = np.exp(-(apart**2)).astype(np.float32)
    return bumps / np.linalg.norm(bumps, axis=1, keepdims=True)


def scan(
    head: Head, pose: Pose, probe: Probe, tissue: Tissue, beams: Beams, rng: np.random.Generator, z: float = 0.0
) -> np.ndarray:
    """Grey values along the beams, float32 `[R, T]`, 0 to 255.

    Args:
        head: The plane that the probe sees (`Head.at`).
        pose: Where it lies.
        probe: The machine.
        tissue: Its scatterers.
        beams: `Beams(probe)`.
        rng: Noise of the receiver and echoes between skull and probe, of this frame.
        z: The plane's place, for the scatterers.
    """
    u, v = head.unbent(*pose.into_head(beams.x, beams.y))
    echo, mirror, loss, inside, skull = _echoes(head, pose, tissue, beams, u, v)
    loss = np.cumsum(loss * np.float32(2 * probe.step * probe.megahertz), axis=0)
    compensation = _compensation(loss, probe)
    gain = np.minimum(compensation - loss, np.float32(_MOST_GAIN))
    clutter = _clutter(inside, skull, tissue, beams)
    weak = np.float32(10) ** ((echo + gain) / 20)
    noise = np.float32(10) ** ((np.float32(probe.noise_db) + 0.9 * compensation) / 20)
    incoherent = np.sqrt(noise**2 + 10 ** (clutter / 10))
    field = tissue.scatterers(beams, inside, u, v, z) * weak + white(rng, weak.shape) * incoherent
    heard = envelope(field, mirror * np.float32(10) ** (gain / 20), beams)
    level = 20 * np.log10(np.maximum(heard, np.float32(1e-5)))
    share = (level + np.float32(probe.gain_db)) / np.float32(probe.range_db) + np.float32(_BRAIN_SHOWN)
    return 255 * np.clip(share, 0, 1).astype(np.float32)


def to_pixels(grey: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """From beams to pixels: uint8 `[X, Y]`, black beside the fan."""
    return np.rint(map_coordinates(grey, pixels, order=1, cval=0.0)).astype(np.uint8)


def incidence(head: Head, pose: Pose, probe: Probe, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Cosine between beam and normal of the skull's ellipse at positions of the picture: 1 where it mirrors best."""
    u, v = head.unbent(*pose.into_head(x, y))
    nu, nv = u / np.float32(head.sizes.long) ** 2, v / np.float32(head.sizes.short) ** 2
    origin = replace(pose, x=0.0, y=0.0)
    bu, bv = origin.into_head(x, y - np.float32(probe.top - probe.radius))
    return np.abs(nu * bu + nv * bv) / np.maximum(np.hypot(nu, nv) * np.hypot(bu, bv), np.float32(1e-9))


def _line(distance: np.ndarray, half: float) -> np.ndarray:
    return np.exp(-((distance / np.float32(half)) ** 2))


def _echoes(head, pose, tissue, beams, u, v):
    """Scattering in dB, mirrors as amplitudes, attenuation in dB / (mm MHz), inside of the skull, distance to it."""
    s, probe = head.sizes, beams.probe
    skull = head.skull(u, v)
    facing = incidence(head, pose, probe, beams.x, beams.y)
    echo, loss = _mother(head, pose, tissue, beams, skull)
    scalp = (skull < 1.5) & (skull >= 0)
    echo[scalp], loss[scalp] = _SCALP, _LOSS_MOTHER
    bone, inside = (skull < 0) & (skull > -s.skull), skull < 0
    brain = np.float32(_BRAIN) + 2.2 * tissue.clouds(u, v, 2.2) + 1.5 * tissue.clouds(v, u, 6.0)
    brain -= 9 * _line(skull + np.float32(s.skull + 1.2), 1.3)  # water between bone and brain
    across = np.abs(v)
    a, b = np.float32(s.long), np.float32(s.short)
    for side in (-1, 1):
        thalamus = oval(u + 0.10 * a, v - side * 0.16 * b, 0.2 * s.long, 0.15 * s.short)
        brain += _THALAMUS / (1 + np.exp(np.clip(thalamus / 0.6, -20, 20)))
    at, strong = tissue.insula
    brain += (
        np.float32(strong)
        * _line(across - np.float32(at) * b - 0.10 * b * (u / a) ** 2, 0.9)
        * (1 / (1 + np.exp(np.clip((np.abs(u - 0.12 * a) - 0.25 * a) / 1.5, -20, 20))))
    )
    mirror = np.zeros_like(u)
    for side in (0, 1):
        brain, mirror = _ventricle(head, side, u, v, facing, brain, mirror)
    brain, mirror = _midline(head, tissue, u, v, brain, mirror)
    echo = np.where(inside, brain, echo)
    loss = np.where(inside, np.float32(_LOSS_BRAIN), loss)
    echo = np.where(bone, np.float32(_BONE) * facing**2 - 4, echo)  # it fades where the beam grazes it
    loss[bone] = _LOSS_BONE
    rough = np.float32(10) ** (np.clip(tissue.clouds(u, v, 3.0), -1.5, 1.5) / 10)
    bright = np.float32(10 ** (_MIRROR_BONE / 20)) * facing**5 * rough
    mirror = np.where(inside, mirror, 0) + bright * _line(skull + np.float32(s.skull / 2), s.skull / 2)
    return echo, mirror, loss, inside & ~bone, skull


def _mother(head, pose, tissue, beams, skull):
    """Abdominal wall and womb over and under the water in which the head lies, and a placenta at times."""
    ellipse = head.ellipse(pose)
    c, s = np.cos(ellipse.angle), np.sin(ellipse.angle)
    half = np.hypot(ellipse.long * s, ellipse.short * c)
    top = np.float32(ellipse.y - half - tissue.wall_mm[0]) + 1.2 * tissue.wall[0]
    bottom = np.float32(ellipse.y + half + tissue.wall_mm[1]) + 1.6 * tissue.wall[1]
    bowl = beams.x**2 / np.float32(3.2 * ellipse.long)  # the womb closes round the head
    over = beams.y - (top + 0.35 * bowl)
    under = (bottom - 0.55 * bowl) - beams.y
    solid = (over < 0) | (under < 0)
    layers = 3.5 * np.sin(beams.depth / 2.1 + 1.3 * tissue.wall[1]) * np.exp(-beams.depth / 25)
    clouds = tissue.clouds(beams.x, beams.y * 2, 2.5)
    echo = np.where(solid, np.float32(_MOTHER) + layers + 2.5 * clouds, np.float32(_FLUID))
    loss = np.where(solid, np.float32(_LOSS_MOTHER), np.float32(0.002))
    echo += 9 * _line(np.minimum(np.abs(over), np.abs(under)), 0.7)
    if tissue.placenta:
        side = np.sign(tissue.placenta) * (beams.x - ellipse.x)
        hollow = 0.03 * (beams.y - ellipse.y) ** 2 - 2.5 * tissue.clouds(beams.x, beams.y, 9.0)
        placenta = ~solid & (skull > 1.5) & (side + hollow > abs(tissue.placenta) * ellipse.long)
        echo = np.where(placenta, np.float32(_PLACENTA) + 2 * clouds, echo)
        loss = np.where(placenta, np.float32(_LOSS_MOTHER), loss)
    return echo, loss


def _ventricle(head, side, u, v, facing, brain, mirror):
    """Water, bright walls where the beam meets them squarely, and the choroid plexus in the atrium."""
    distance, along = head.ventricle(u, v, side)
    width = head.sizes.ventricles[side]
    water = 1 / (1 + np.exp(np.clip(distance / 0.25, -20, 20)))
    brain = brain + water * (np.float32(_FLUID) - brain)
    fill = np.clip(0.95 - 0.045 * (head.sizes.age - 18), 0.35, 0.95) * min(1.0, 8.0 / max(width, 1e-3))
    plexus = distance + (1 - fill) * width / 2 + 12 * np.maximum(np.abs(along - 0.32) - 0.26, 0)
    tuft = 1 / (1 + np.exp(np.clip(plexus / 0.4, -20, 20)))
    brain = brain + tuft * (np.float32(_CHOROID) - brain)
    wall = np.float32(10 ** (_MIRROR_WALL / 20)) * facing**6 * _line(distance, 0.45)
    return brain, mirror + wall * (0.35 + 0.65 * (along > 0.25))


def _midline(head, tissue, u, v, brain, mirror):
    """The falx, broken by the cavum and its two leaves, and by the third ventricle between the thalami."""
    s = head.sizes
    cavum = head.cavum(u, v)
    water = 1 / (1 + np.exp(np.clip(cavum / 0.25, -20, 20)))
    brain = brain + water * (np.float32(_FLUID) - brain)
    bow = tissue.falx_mm[0] * np.sin(3 * u / np.float32(s.long)) + tissue.falx_mm[1]
    offset = v - bow.astype(np.float32) * (np.abs(u) > s.cavum[1])
    third = _line(u + np.float32(0.10 * s.long), 0.17 * s.long)
    reach = 1 / (1 + np.exp(np.clip((np.abs(u) - 0.93 * np.float32(s.long)) / 0.8, -20, 20)))
    line = _line(offset, 0.4) * (1 - third) + third * _line(np.abs(offset) - 0.9, 0.35)
    falx = np.float32(10 ** (_MIRROR_FALX / 20)) * line * reach * np.clip(cavum / 0.6, 0, 1)
    brain = brain - 14 * third * _line(offset, 0.6)
    leaf = np.float32(10 ** (_MIRROR_WALL / 20)) * _line(cavum, 0.4) * (np.abs(v) > 0.3 * s.cavum[0])
    rough = np.float32(10) ** (np.clip(tissue.clouds(u, u, 1.7), -2, 1) / 5)
    return brain, mirror + falx * rough + 1.3 * leaf


def _compensation(loss: np.ndarray, probe: Probe) -> np.ndarray:
    """Time gain compensation as a machine sets it by itself, `[R, 1]` dB: the usual loss, smoothly, and its error."""
    middle = np.median(loss[:, loss.shape[1] // 4 : -(loss.shape[1] // 4)], axis=1)
    middle = np.minimum(gaussian_filter1d(middle, 3.0 / probe.step), 70)
    tilt = np.linspace(-0.5, 0.5, len(middle), dtype=np.float32) * np.float32(probe.tilt_db)
    return (middle + tilt)[:, None].astype(np.float32)


def _clutter(inside, skull, tissue, beams):
    """Echoes to and fro between probe and near skull, dB: a haze that hides the near half, and its fainter arcs."""
    entered = inside.any(axis=0)
    entry = np.where(entered, inside.argmax(axis=0), 0)
    below = beams.depth - np.float32(beams.probe.step) * entry[None]
    haze = np.float32(tissue.clutter_db) - np.float32(0.5) * below
    for nth in (1, 2):
        haze += 7 / nth * _line(below - np.float32(4.1 * nth), 0.5)
    haze = np.where((below > 0) & entered[None] & (skull < 0), haze, np.float32(_BLACK))
    return np.maximum(haze, np.float32(-34))
