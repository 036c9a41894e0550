"""The label of a case and a report on it, sent to the archive that its scan comes from."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, File, Path, Query, UploadFile

from monailabel_app.api.audit import audit
from monailabel_app.api.dicom import dicomweb_of
from monailabel_app.api.instance import AppInstance
from uncertaintyseg import wire

router = APIRouter(tags=["DICOM"])
_ARCHIVE = "/uncertainty/v1/cases/{image}/archive"

Image = Annotated[str, Path(description="Image id.")]


@router.get(_ARCHIVE, summary="Where a case's label and report would go, and whose they are")
def state(image: Image, app: AppInstance) -> wire.ArchiveState:
    """Ask the archive whose the case is, so that a person can be asked before anything is sent there.

    400 when the studies are a folder, or when the archive has the series under another patient than the one that it
    was fetched with; 404 for an unknown image; 502 when the archive does not answer.
    """
    return dicomweb_of(app).archive_state(image)


@router.post(_ARCHIVE, summary="Send a case's label and a report to the archive")
def send(
    image: Image,
    version: Annotated[int, Query(description="Of the final label that the report is about.", ge=1, lt=2**63)],
    report: Annotated[UploadFile, File(description="PDF.")],
    app: AppInstance,
) -> wire.ArchiveState:
    """Store the final label as DICOM Segmentation and the report as Encapsulated PDF; a repetition stores nothing anew.

    400 when the report is no PDF, or the archive has the series under another patient by now; 404 for an unknown image,
    or one without a final label; 409 when another version counts by now; 413 when the report is too large; 502 when the
    archive does not take them: then they are kept here and sent again every minute.
    """
    datastore = dicomweb_of(app)

    def note(report_uid: str, sha256: str | None) -> None:
        where = {"archive": datastore.name(), "sop_instance_uid": report_uid, "sha256": sha256}
        audit("archive", case=image, version=version, **where)

    datastore.add_report(image, version, report.file.read(), note)
    datastore.deliver(image)
    return datastore.archive_state(image)
