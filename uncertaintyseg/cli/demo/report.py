"""The demo's one HTML file: pictures inside, nothing to fetch."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from uncertaintyseg import __version__
from uncertaintyseg.cli.demo.tour import MAP, summary
from uncertaintyseg.data.writing import write_bytes

if TYPE_CHECKING:
    from uncertaintyseg.cli.demo.tour import Story


def write_report(path: Path, story: Story, seconds: float) -> Path:
    """Write what happened as HTML.

    Raises:
        InputError: when the file cannot be written.
    """
    loader = PackageLoader("uncertaintyseg.cli.demo", package_path="")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    environment.filters["picture"] = _picture
    environment.filters["figure"] = lambda value, digits=3: "–" if value is None else f"{value:.{digits}f}"
    page = environment.get_template("report.html.j2").render(
        story=story, seconds=seconds, version=__version__, map_name=MAP, summary=summary
    )
    write_bytes(path, page.encode())
    return path


def _picture(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
