"""What the Slicer module is made of; imports go down this list only.

`panel` has the widgets (the only room with `qt`), `logic` what they do, `scene` how it looks in an MRML scene, and
`server` the way to the server, which needs nothing but the standard library and runs in a process of its own.
"""

__version__ = "0.1.0"
