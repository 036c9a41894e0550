"""What the Slicer module is made of: the server client, the scene logic, and the panel.

`client` talks to the server and needs nothing but the standard library. `case` shows one scan with its label and
risk maps in an MRML scene and needs `slicer`. `panel` is the only module that needs `qt`.
"""
