"""Uploads to the datastore: nothing is kept before it has been read and checked."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, File, Form, Query, Response, UploadFile
from fastapi.responses import FileResponse
from starlette.background import BackgroundTask

from monailabel_app.api.audit import audit, caller
from monailabel_app.api.auth import acting_as, require
from monailabel_app.api.axes import AxisSaid, SpacingSaid, said
from monailabel_app.api.conditional import IfNoneMatch, is_known
from monailabel_app.api.corrections import about_save
from monailabel_app.api.infer import parse_params
from monailabel_app.api.instance import AppInstance
from monailabel_app.api.ownership import others_claim, refuse_others
from monailabel_app.api.reviewed_labels import about_review, stamped
from monailabel_app.app import UncertaintySegApp
from monailabel_app.app.datastore import FINAL
from monailabel_app.app.dicomweb import PLACES
from monailabel_app.app.label_names import names_to_keep
from monailabel_app.app.labelled import PURPOSE
from monailabel_app.app.looked_at import LOOKED_AT, checked_looked_at
from monailabel_app.errors import NotFoundError, TakenError
from monailabel_app.intake.checksum import UPLOADED, WRITTEN, is_checksum_of
from monailabel_app.intake.received import received_label, received_scan
from monailabel_app.jobs.shown import SHOWN, forget_case
from monailabel_app.store.records import Version
from monailabel_app.store.review_status import META
from monailabel_app.verified import VERIFIED, checked_verified, in_boxes
from uncertaintyseg.data.label_grid import Grid
from uncertaintyseg.data.one_file import as_one_file
from uncertaintyseg.data.scan import read_scan
from uncertaintyseg.data.scan_files import scan_files
from uncertaintyseg.data.segments import segments_from_client
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.content import content_hash
from uncertaintyseg.metrics.overlap import class_voxels
from uncertaintyseg.tokens import Role

_RESERVED = ("lease", "skipped", "scores", "strategy", "version", UPLOADED, WRITTEN, *PLACES)
"""Fields of a record that the server keeps itself; only an admin mends them by hand."""
_DECIDING = (PURPOSE, "approved_by")
"""Fields that decide what a case is used for."""

router = APIRouter(prefix="/datastore", tags=["Datastore"])

Json = Annotated[str, Form()]


@router.put("/", include_in_schema=False)
@router.put("/image", summary="Upload a new scan")
def add_image(
    app: AppInstance,
    file: Annotated[UploadFile, File()],
    image: str | None = None,
    params: Json = "{}",
    channels: Annotated[list[UploadFile] | None, File()] = None,
    axis: AxisSaid = None,
    spacing: SpacingSaid = None,
) -> dict[str, Any]:
    """Add a scan; its id is `image` or the file's name. 4xx when it is no usable scan or the id is taken.

    An image is a volume of one slice; pictures are decoded by the client.

    Of a scan of several channels `file` is the first and `channels` are the others, in order and on the same grid; as
    many as some model of this server takes.
    """
    info, further = _free(parse_params(params)), channels or []
    if further and 1 + len(further) not in (counts := app.channel_counts()):
        takes = f"its models take {', '.join(map(str, sorted(counts)))}" if counts else "no model takes more than one"
        raise InputError(f"channels: {1 + len(further)} channels; {takes}")
    about = {"channels": 1 + len(further)} if further else {}
    with received_scan(file, further, said(axis, spacing)) as scan:
        info |= {UPLOADED: scan.checksum, WRITTEN: content_hash(scan.path)}
        image_id = image or scan.stem
        note = functools.partial(audit, "add_image", case=image_id, **about)
        others = [str(path) for path in scan.channels]
        app.datastore().add_image(image_id, str(scan.path), info, note, channels=others)
    app.score_keeper.catch_up()
    return {"image": image_id}


@router.delete("/", include_in_schema=False)
@router.delete("/image", summary="Remove a scan and its labels")
def remove_image(app: AppInstance, id: str) -> dict[str, Any]:  # noqa: A002 - MONAI Label's name
    """404 for an unknown image."""
    with app.datastore().transaction():
        app.datastore().remove_image(id)
        audit("remove_image", case=id)
    forget_case(app.results.root.parent / SHOWN, id)
    return {}


@router.get("/image", summary="Download a scan", response_class=FileResponse)
def download_image(
    app: AppInstance, image: str, if_none_match: IfNoneMatch = None, channel: Annotated[int, Query(ge=0, le=9999)] = 0
) -> Response:
    """One of several files is sent as NIfTI. In a thread: a DICOMweb server's series may have to be fetched first.

    `channel` counts the channels of a scan of several from 0; 404 where there is none such.
    """
    path, folder = app.datastore().image_path(image), tempfile.TemporaryDirectory()
    if channel:
        files = app.datastore().channel_paths(image)
        if channel >= len(files):
            raise NotFoundError(f"the image {image!r} has {len(files)} channel(s), counted from 0; none is {channel}")
        path = files[channel]
    files = scan_files(path)
    headers = {"ETag": f'{"" if files == [path] else "W/"}"{content_hash(*files)}"'}
    if is_known(headers["ETag"], if_none_match):
        return Response(status_code=304, headers=headers)
    file = as_one_file(path, image, Path(folder.name))
    return FileResponse(file, filename=file.name, headers=headers, background=BackgroundTask(folder.cleanup))


@router.head("/image", include_in_schema=False)
def check_image(app: AppInstance, image: str, check_sum: str | None = None) -> dict[str, Any]:
    """404 when there is no such scan, or not with this checksum: that of the file as it is, or as it was uploaded.

    `check_sum` is SHA-256 in hex, or names its algorithm as `MD5:...`, `SHA256:...` and `SHA512:...`.
    """
    path = app.datastore().image_path(image)
    if check_sum and not is_checksum_of(check_sum, path, app.datastore().get_image_info(image)):
        raise NotFoundError(f"the image {image!r} is another file than the one with this checksum")
    return {}


@router.put("/label", summary="Save a label")
def save_label(
    app: AppInstance, image: str, label: Annotated[UploadFile, File()], params: Json = "{}", tag: str = FINAL
) -> dict[str, Any]:
    """Save a label on its scan's grid as compressed NIfTI; the one it replaces is kept until then.

    Names of segments count, in the file or in `label_info` as MONAI Label's plugins send it; without names its numbers
    are class ids. The names are kept in the file, and commands read it by them. `params` may name the `model` whose
    structures they are, the `result` that was corrected, `seconds_open`, `looked_at` (`wire.LookedAt`), and the boxes
    that are `verified`, first and last voxel of each, IJK: where a person has looked, if that is not the whole label;
    trainings learn from nothing else in it, until a reviewer approves it. 4xx for an unknown image, structure or class
    id, another grid, a file that is no label, counts of what was looked at that do not add up, or a box beyond the
    scan.
    """
    info = stamped(_free(parse_params(params)), tag or FINAL, None)
    datastore = app.datastore()
    scan = read_scan(datastore.image_path(image))
    grid = Grid(tuple(scan.shape[1:]), scan.affine.numpy(), image)
    boxes = checked_verified(info.get(VERIFIED), grid.shape)
    told = segments_from_client(info.get("label_info"))
    voxels = received_label(label, app.label_ids(info.get("model")), grid, told)
    info["label_info"] = _numbers(app, info.get("model"), voxels)
    about = {"tag": tag or FINAL, **about_save(app, image, voxels, info), **about_review(info)}
    if boxes:
        about["verified_voxels"] = int(np.count_nonzero(in_boxes(boxes, grid.shape)))
    kept: list[int] = []

    def note(version: Version) -> None:
        kept.append(version.id)
        if claim is None:
            app.assignments.release(image)
        audit("save" if claim is None else "save_aside", version=version.id, **about)

    made = {"made_by": acting_as(info.get("client_id")), "seconds": about["seconds_open"]}
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "label.nii.gz"
        names = names_to_keep(info, app.structures(info.get("model"))[0])
        write_volume(written, voxels, grid.affine, names=names, about=scan.meta)
        with datastore.transaction():  # nobody takes the case between the question and the save
            claim = others_claim(app, image, tag or FINAL)
            label_id = datastore.save_label(
                image, str(written), tag or FINAL, info, note, **made, current=claim is None
            )
    if claim is not None:
        raise TakenError(f"{claim}: your label is kept as version {kept[0]} and does not count yet")
    app.on_save_label(image, label_id)
    return {"image": image, "label": label_id}


@router.delete("/label", summary="Remove a label")
def remove_label(app: AppInstance, id: str, tag: str) -> dict[str, Any]:  # noqa: A002 - MONAI Label's name
    """404 for an unknown label."""
    with app.datastore().transaction():
        refuse_others(app, id, tag)
        app.datastore().remove_label(id, tag)
        audit("remove_label", case=id, tag=tag)
    return {}


@router.put("/image/info", summary="Add to an image's record")
def update_image_info(app: AppInstance, image: str, info: Json = "{}") -> None:
    """`info` is a JSON object; 404 for an unknown image."""
    asked = _free(parse_params(info, "info"))
    with app.datastore().transaction():
        app.datastore().update_image_info(image, asked)
        audit("image_info", case=image, fields=sorted(asked))


@router.put("/label/info", summary="Add to a label's record")
def update_label_info(app: AppInstance, label: str, tag: str, info: Json = "{}") -> None:
    """`info` is a JSON object; 404 for an unknown label.

    A review is `segmentationMeta` in it, with `status`, `level` and `comment` as MONAILabelReviewer sends them; who and
    when is added here. Where it names the `version` that was looked at, it is refused (409) once another one counts.
    """
    asked = _free(parse_params(info, "info"))
    if VERIFIED in asked:
        raise InputError(f"info.{VERIFIED}: what was looked at belongs to a version: save the label with it")
    is_review = set(asked) == {META} and caller.get()[0].role >= Role.reviewer
    with app.datastore().transaction():
        refuse_others(app, label, tag, draft=not is_review)
        asked = stamped(asked, tag, app.datastore().store.label(label, tag))
        app.datastore().update_label_info(label, tag, asked)
        audit("label_info", case=label, tag=tag, fields=sorted(asked), **about_review(asked))


@router.put("/updatelabelinfo", include_in_schema=False)
def update_label_params(app: AppInstance, label: str, tag: str, params: Json = "{}") -> None:
    """MONAI Label's older name for `update_label_info`, by which MONAILabelReviewer reviews."""
    update_label_info(app, label, tag, params)


@router.get("/dataset", summary="All labelled scans as a zip", response_class=FileResponse)
def dataset(app: AppInstance, limit_cases: Annotated[int | None, Query(ge=1, lt=2**31)] = None) -> FileResponse:
    """Zip them in a thread, and leave no copy behind."""
    archive = Path(app.datastore().get_dataset_archive(limit_cases))
    cleanup = BackgroundTask(archive.unlink)
    return FileResponse(archive, media_type="application/zip", filename="dataset.zip", background=cleanup)


def _numbers(app: UncertaintySegApp, model: str | None, voxels: np.ndarray) -> list[dict[str, Any]]:
    """What the numbers of a stored label mean, as MONAI Label's clients read it."""
    names = {label.id: label.name for label in app.structures(model)[0]}
    return [
        {"name": names[value], "idx": value}
        for value in np.flatnonzero(class_voxels(voxels)).tolist()
        if value in names
    ]


def _free(info: dict[str, Any]) -> dict[str, Any]:
    """Return what a client wants noted.

    Raises:
        ForbiddenError: A field is the server's own and the caller no admin, or it decides what the case is used for
            and the caller is no trainer.
        InputError: What was looked at is told in another way than `wire.LookedAt` says.
    """
    for field in info:
        if field in _RESERVED:
            require(Role.admin)()
        if field in _DECIDING:
            require(Role.trainer)()
    if LOOKED_AT in info:
        checked_looked_at(info[LOOKED_AT])
    return info
