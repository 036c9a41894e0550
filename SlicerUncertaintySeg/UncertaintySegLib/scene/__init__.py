"""How a case looks in an MRML scene: one small file for each thing that is shown."""
