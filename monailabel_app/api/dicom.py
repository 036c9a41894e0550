"""Results as DICOM objects: a label as DICOM SEG in the reply, a map as Parametric Map on the DICOMweb server."""

from __future__ import annotations

import gzip
from typing import Annotated

import nibabel as nib
import numpy as np
from fastapi import APIRouter, Query, Response

from monailabel_app.api.instance import AppInstance
from monailabel_app.api.keys import Key
from monailabel_app.app import UncertaintySegApp
from monailabel_app.app.dicomweb import DicomWebDatastore
from monailabel_app.dicom.coding import Source
from monailabel_app.dicom.outbox import encode
from monailabel_app.dicom.parametric_map import parametric_map
from monailabel_app.dicom.segmentation import segmentation
from monailabel_app.jobs.results import ROUTE
from uncertaintyseg import wire
from uncertaintyseg.data.scan import read_label
from uncertaintyseg.errors import InputError

router = APIRouter(tags=["DICOM"])


@router.post(f"{ROUTE}/{{key}}/maps/{{name}}/dicom", status_code=201, summary="Store a map as DICOM Parametric Map")
def store_map(
    key: Key, name: str, image: Annotated[str, Query(description="Series that was inferred.")], app: AppInstance
) -> wire.DicomObject:
    """Store one map of a result in the study of its series, and answer with where it is.

    4xx when the studies are no DICOMweb server's, for an unknown series, result or map, and when the result is on
    another grid than the series; 502 when the server does not take it: then nothing is kept.
    """
    datastore = dicomweb_of(app)
    encoded = nib.Nifti1Image.from_bytes(gzip.decompress(app.results.map_bytes(key, name)))
    risk = app.results.existing(key).risk
    values, info = encoded.get_fdata(dtype=np.float32), risk.maps[name]
    instance = parametric_map(values, encoded.affine, name, info, datastore.series(image), _source(risk))
    datastore.store_instance(instance)
    return wire.DicomObject(
        study_instance_uid=str(instance.StudyInstanceUID),
        series_instance_uid=str(instance.SeriesInstanceUID),
        sop_instance_uid=str(instance.SOPInstanceUID),
    )


def check_series(app: UncertaintySegApp, image: str) -> None:
    """Raise `InputError` unless `image` is a series of a DICOMweb server, from which DICOM can be derived."""
    if not image:
        raise InputError("output=dicom_seg: name a series of the DICOMweb server as image; an upload has no headers")
    dicomweb_of(app).check_image(image)


def segmentation_reply(app: UncertaintySegApp, image: str, key: str) -> Response:
    """Answer an inference of `image` with its label as DICOM SEG. Raises as `DicomWebDatastore.series`."""
    report = app.results.existing(key)
    label = read_label(app.results.label_path(key))
    series = dicomweb_of(app).series(image)
    instance = segmentation(label[0].numpy(), label.affine.numpy(), report.labels, series, _source(report.risk))
    headers = {"Content-Disposition": f'attachment; filename="{instance.SOPInstanceUID}.dcm"'}
    return Response(encode(instance), media_type="application/dicom", headers=headers)


def dicomweb_of(app: UncertaintySegApp) -> DicomWebDatastore:
    """Return the studies of a DICOMweb server. Raises `InputError` where they are a folder."""
    datastore = app.datastore()
    if not isinstance(datastore, DicomWebDatastore):
        raise InputError("this server's studies are a folder of volumes: DICOM objects need --studies http(s)://...")
    return datastore


def _source(risk: wire.Risk) -> Source:
    return Source(risk.provenance.model, risk.provenance.weights_checksum)
