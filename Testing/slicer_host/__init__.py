"""Real MRML scenes, slice views and 3D views without the Slicer desktop.

    import slicer_host

    host = slicer_host.start()
    view = host.slice_view("Red")
    view.save_png("red.png")

`start()` is that of `uncertaintyseg.viewer`, and needs only the `slicer-core` wheel. `slicer_host.desktop.start()` adds
stand-ins for the Qt side (PySide6), enough to run a scripted module's panel. README.md says which parts are real.
"""

from __future__ import annotations

from uncertaintyseg.viewer.application import Host, start
from uncertaintyseg.viewer.plot_view import PlotView
from uncertaintyseg.viewer.views import SliceView, ThreeDView

__all__ = ["Host", "PlotView", "SliceView", "ThreeDView", "start"]
