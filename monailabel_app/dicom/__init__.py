"""DICOM in and out: series from a DICOMweb server, labels as DICOM SEG, risk maps as DICOM Parametric Map.

Imports neither MONAI Label nor FastAPI.
"""
