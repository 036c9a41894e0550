"""Real MRML scenes, slice views and 3D views without the Slicer desktop.

    import slicer_host

    host = slicer_host.start()
    view = host.slice_view("Red")
    view.save_png("red.png")

`start()` is that of `headless_slicer`, and needs only the `slicer-core` wheel. `slicer_host.desktop.start()` adds
stand-ins for the Qt side (PySide6), enough to run a scripted module's panel. README.md says which parts are real.
"""

from __future__ import annotations

from headless_slicer.application import Host, start
from headless_slicer.plot_view import PlotView
from headless_slicer.views import SliceView, ThreeDView

__all__ = ["Host", "PlotView", "SliceView", "ThreeDView", "start"]
