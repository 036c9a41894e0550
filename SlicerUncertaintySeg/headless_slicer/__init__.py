"""Real MRML scenes, slice views and 3D views without the Slicer desktop, for pictures and tests.

    import headless_slicer

    host = headless_slicer.start()
    view = host.slice_view("Red")
    view.save_png("red.png")

It needs the `slicer-core` wheel and no Qt. The scene, its logics and what draws the views are Slicer's own;
`slicer.app`, the layout manager, the widgets around views, the modules' names and `slicer.i18n` are stand-ins.
"""

from __future__ import annotations

from headless_slicer.application import Host, start
from headless_slicer.plot_view import PlotView
from headless_slicer.views import SliceView, ThreeDView

__all__ = ["Host", "PlotView", "SliceView", "ThreeDView", "start"]
