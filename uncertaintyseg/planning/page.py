"""The page of a plan, one HTML file with its pictures inside: what was found, what was chosen and why, what is next."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from uncertaintyseg import __version__
from uncertaintyseg.data.writing import write_bytes
from uncertaintyseg.planning import charts
from uncertaintyseg.planning.examples import draw_examples
from uncertaintyseg.planning.explained import validation_doubt
from uncertaintyseg.planning.following import next_steps
from uncertaintyseg.planning.grouping import by_kind
from uncertaintyseg.training.case_cache import gigabytes

if TYPE_CHECKING:
    from uncertaintyseg.planning.fingerprint import Fingerprint
    from uncertaintyseg.planning.plan import Plan

_MANY = 12  # charts of channels; problems of a kind that are listed at once
_LONG = 30  # structures whose chart scrolls


def write_page(path: Path, fingerprint: Fingerprint, plan: Plan, *, models: Path | None = None) -> Path:
    """Write the page.

    Args:
        path: of the HTML file.
        fingerprint: of the data set.
        plan: made from it.
        models: folder with the bundle that was written; None: runs.

    Raises:
        InputError: The file cannot be written there.
        StorageError: The disk is full.
    """
    dataset = fingerprint.dataset
    loader = PackageLoader("uncertaintyseg.planning", package_path="")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    environment.filters |= {
        "png": _png,
        "by": _by,
        "figure": charts.figure_of,
        "volume": lambda size: _volume(size * fingerprint.size_scale),
        "time": _time,
        "gb": gigabytes,
    }
    clipped = [normalization.scheme == "ct" for normalization in plan.normalization]
    page = environment.get_template("page.html.j2").render(
        dataset=dataset,
        found=fingerprint,
        plan=plan,
        groups=by_kind(fingerprint.problems),
        many=_MANY,
        examples=draw_examples(fingerprint),
        histograms=[
            charts.intensities(fingerprint, number, clipped=is_clipped)
            for number, is_clipped in enumerate(clipped[:_MANY])
        ],
        grids=charts.grids(fingerprint, plan.spacing, plan.patch),
        volumes=charts.structures(fingerprint, dataset.labels),
        long=len(dataset.labels) > _LONG,
        left_out=by_kind(fingerprint.why_left_out),
        doubt=validation_doubt(plan),
        following=next_steps(plan, fingerprint, models or Path("runs")),
        version=__version__,
    )
    write_bytes(path, page.encode())
    return path


def _png(data: bytes) -> Markup:
    return Markup("data:image/png;base64," + base64.b64encode(data).decode())  # noqa: S704 - digits and letters


def _by(values: Sequence[float]) -> str:
    return " × ".join(f"{value:.4g}" for value in values)


def _volume(size: float) -> str:
    return f"{size:.3g}" if size else "–"


def _time(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 100:
        return f"{seconds:.3g} s"
    minutes = seconds / 60
    return f"{minutes:.0f} minutes" if minutes < 100 else f"{minutes / 60:.1f} hours"
