"""An ultrasound phantom free of rights: the trans-thalamic plane of a fetal head, its true masks and its raters.

`growth` holds the published sizes, `head` the anatomy, `scanner` the physics of the picture, `phantom` one case and
`writing` a folder of them.
"""

from uncertaintyseg.data.ultrasound_phantom.phantom import FRAMES, LABELS, SHIFTS, UltrasoundPhantom, make_ultrasound
from uncertaintyseg.data.ultrasound_phantom.writing import write_ultrasound

__all__ = ["FRAMES", "LABELS", "SHIFTS", "UltrasoundPhantom", "make_ultrasound", "write_ultrasound"]
