"""What the server counts sizes in, as the wire says it."""

from __future__ import annotations

ML, MM2, PIXELS = "mL", "mm2", "px"
"""`size_unit`: volumes; areas of images and clips; the same in pixels, where their spacing is unknown."""
TIME = "time"
"""`axis`: what the third axis of a clip is."""
