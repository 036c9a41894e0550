"""Scans in, volumes out: reading with validation, geometry, folder layouts, splits and the phantom."""
