"""How large a fetal head and what lies in it is: published curves, in mm, and what is drawn around them.

- Head circumference: Papageorghiou AT, et al. International standards for fetal growth based on serial ultrasound
  measurements (INTERGROWTH-21st). Lancet 384:869-879 (2014).
- Cephalic index, 78.3 +- 4.4 %: Hadlock FP, et al. Estimating fetal age: effect of head shape on BPD.
  AJR 137:83-85 (1981).
- Width of the ventricles' atrium, 6.4 +- 1.2 mm at any age: Almog B, et al. Fetal lateral ventricular width.
  J Ultrasound Med 22:39-43 (2003). Large from 10 mm on; mild to 12, moderate below 15, severe from 15 mm on:
  Gaglioti P, et al. Fetal cerebral ventriculomegaly. Ultrasound Obstet Gynecol 25:372-377 (2005).
- Cavum septi pellucidi, 5.3 +- 1.7 mm wide, 2 to 9, growing with age: Falco P, et al. Transabdominal sonography of the
  cavum septum pellucidum. Ultrasound Obstet Gynecol 16:549-553 (2000).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from uncertaintyseg.data.ellipse import circumference

AGES = (18.0, 32.0)
"""Weeks of gestation that are drawn."""
PATHOLOGIES = ("ventriculomegaly", "absent_cavum", "asymmetry")
GRADES = (1, 2, 3)
LARGE_VENTRICLE_MM = 10.0

_MEGALY_MM = {1: (10.2, 12.0), 2: (12.1, 14.9), 3: (15.0, 20.0)}  # mild, moderate, severe
_ASYMMETRY_MM = {1: (2.5, 3.5), 2: (3.5, 5.0), 3: (5.0, 7.0)}  # between the two sides
_REMNANT = {1: 0.55, 2: 0.35, 3: 0.0}  # of the cavum's width and length
_MOST_OF_HEAD = 0.36  # width of a ventricle over the head's: more has no room beside the midline


@dataclass(frozen=True)
class Sizes:
    """Sizes of one head in its trans-thalamic plane, mm.

    Attributes:
        age: Weeks of gestation.
        circumference: Outer border of the skull.
        long: Semi-axis from brow to occiput.
        short: Semi-axis from side to side.
        skull: Thickness of the bone.
        ventricles: Widths of the two atria; the sides are those of negative and positive `v` (`head`).
        cavum: Width and length; 0 where it is absent.
        pathology: Of `PATHOLOGIES`, or "none".
        grade: 1 to 3, 0 without pathology.
    """

    age: float
    circumference: float
    long: float
    short: float
    skull: float
    ventricles: tuple[float, float]
    cavum: tuple[float, float]
    pathology: str = "none"
    grade: int = 0


def head_circumference(age: float) -> tuple[float, float]:
    """Mean and standard deviation in mm of the INTERGROWTH-21st standard.

    Args:
        age: Weeks of gestation, 14 to 40.
    """
    log = np.log(age)
    mean = -28.2849 + 1.69267 * age**2 - 0.397485 * age**2 * log
    sd = 1.98735 + 0.0136772 * age**3 - 0.00726264 * age**3 * log + 0.000976253 * age**3 * log**2
    return float(mean), float(sd)


def draw_sizes(rng: np.random.Generator) -> Sizes:
    """Draw a healthy head of random age."""
    age = rng.uniform(*AGES)
    mean, sd = head_circumference(age)
    around = mean + sd * _within(rng.standard_normal(), -2, 2)
    index = _within(rng.normal(0.783, 0.044), 0.70, 0.87)
    long = around / circumference(1.0, index)
    width = _within(rng.normal(6.4, 1.2), 3.8, 9.2)
    apart = _within(rng.normal(0, 0.4), -0.8, 0.8)
    cavum = _within(3.6 + 0.22 * (age - AGES[0]) + rng.normal(0, 0.8), 2.2, 8.5)
    return Sizes(
        age=age,
        circumference=around,
        long=long,
        short=index * long,
        skull=1.0 + 0.07 * (age - AGES[0]),
        ventricles=(width - apart / 2, width + apart / 2),
        cavum=(cavum, cavum * rng.uniform(1.5, 2.1)),
    )


def draw_pathology(sizes: Sizes, rng: np.random.Generator, share: float) -> Sizes:
    """Make a head ill with a probability, of any pathology and grade alike; the rest of it stays as it was.

    Args:
        sizes: A healthy head.
        rng: Read alike whatever the share is.
        share: Probability, 0 to 1.
    """
    ill, part, side = rng.random(3)
    pathology, grade = str(rng.choice(PATHOLOGIES)), int(rng.choice(GRADES))
    if ill >= share:
        return sizes
    found = {"pathology": pathology, "grade": grade}
    room = _MOST_OF_HEAD * 2 * sizes.short
    if pathology == "absent_cavum":
        return Sizes(**{**vars(sizes), **found, "cavum": tuple(_REMNANT[grade] * length for length in sizes.cavum)})
    if pathology == "ventriculomegaly":
        low, high = _MEGALY_MM[grade]
        width = low + part * (max(low, min(high, room)) - low)
        other = max(LARGE_VENTRICLE_MM, width - 0.8 * abs(sizes.ventricles[0] - sizes.ventricles[1]))
        both = (width, other)
    else:
        low, high = _ASYMMETRY_MM[grade]
        narrow = min(*sizes.ventricles, room - high)
        both = (narrow, narrow + low + part * (high - low))
    return Sizes(**{**vars(sizes), **found, "ventricles": both if side < 0.5 else both[::-1]})


def _within(value: float, low: float, high: float) -> float:
    return float(min(max(value, low), high))
