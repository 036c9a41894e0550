"""Every state that a label has had: listed, compared, fetched and restored."""

from __future__ import annotations

import threading
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response

from monailabel_app.api.audit import audit, caller
from monailabel_app.api.auth import acting_as, require
from monailabel_app.api.instance import AppInstance
from monailabel_app.api.ownership import refuse_others
from monailabel_app.app.looked_at import kept_looked_at
from monailabel_app.app.readings import version_voxels
from monailabel_app.errors import NotFoundError
from monailabel_app.store.records import Version
from monailabel_app.store.review_status import shown_review
from monailabel_app.verified import kept_verified
from uncertaintyseg import wire
from uncertaintyseg.data.time_axis import TIME
from uncertaintyseg.errors import InputError
from uncertaintyseg.review.versions import difference
from uncertaintyseg.tokens import Role

router = APIRouter(tags=["Uncertainty"])
_VERSIONS = "/uncertainty/v1/cases/{image}/versions"

_one_at_a_time = threading.Lock()
"""A comparison takes a few times the memory of its scan."""

Image = Annotated[str, Path(description="Image id.")]
Number = Annotated[int, Path(description="Id of a version.", ge=1, lt=2**63)]


@router.get(_VERSIONS, summary="All versions of a case's labels")
def versions(
    image: Image, app: AppInstance, tag: Annotated[str | None, Query(description="Of this label only.")] = None
) -> wire.VersionList:
    """Oldest first: who saved it, when, how long it took. 404 for an unknown image."""
    datastore = app.datastore()
    datastore.check_image(image)
    counts = {label.version.id for label in datastore.store.labels(image)}
    return wire.VersionList(versions=[_shown(v, v.id in counts) for v in datastore.store.versions(image, tag)])


@router.get(f"{_VERSIONS}/{{number}}/label", summary="The file of a version", response_class=Response)
def file(image: Image, number: Number, app: AppInstance) -> Response:
    """As it was saved; 404 when it is gone."""
    version = app.datastore().version(image, number)
    headers = {"Content-Disposition": f'attachment; filename="version-{number}{version.suffix}"'}
    return Response(app.datastore().version_bytes(version), media_type="application/octet-stream", headers=headers)


@router.get(f"{_VERSIONS}/{{number}}/compare", summary="How a version differs from another")
def compare(
    image: Image,
    number: Number,
    app: AppInstance,
    to: Annotated[int | None, Query(description="Id of another one; by default what counts.", ge=1, lt=2**63)] = None,
) -> wire.VersionComparison:
    """Dice and volumes of each structure that either has, and where they differ."""
    datastore = app.datastore()
    first = datastore.version(image, number)
    if to is None:
        label = datastore.store.label(image, first.tag)
        if label is None:
            raise NotFoundError(f"no label {first.tag!r} of {image!r} counts now: name another version with ?to=")
        to = label.version.id
    second = datastore.version(image, to)
    (one, affine, sizes), (other, _, _) = (version_voxels(datastore, version) for version in (first, second))
    if one.shape != other.shape:
        raise InputError(f"versions {number} and {to} are on different grids, so their voxels cannot be compared")
    counted = {"clip": sizes.clip, "voxel_ml": sizes.voxel, "place_ml": sizes.place}
    with _one_at_a_time:
        found = difference(one, other, app.structures(first.info.get("model"))[0], affine, **counted)
    return wire.VersionComparison(
        version=number,
        to=to,
        voxels_changed=found.voxels,
        changed_ml=found.voxels * sizes.voxel,
        size_unit=sizes.unit,
        axis=TIME if sizes.clip else None,
        structures=found.structures,
        regions=found.regions,
    )


@router.post(f"{_VERSIONS}/{{number}}/restore", summary="Make a version count again")
def restore(image: Image, number: Number, app: AppInstance) -> wire.Version:
    """Its content becomes the newest version, so that nothing is lost; that one is to be reviewed again.

    Others' versions are a reviewer's to restore (403). 409 while somebody else has the case.
    """
    datastore, made = app.datastore(), []
    version = datastore.version(image, number)
    if version.made_by != caller.get()[0].name:
        require(Role.reviewer)()

    def note(new: Version) -> None:
        audit("restore_label", case=image, tag=version.tag, version=new.id, of=number)
        made.append(new)

    with datastore.transaction():
        refuse_others(app, image, version.tag)
        datastore.restore(version, note, made_by=acting_as(None))
    app.on_save_label(image, image)
    return _shown(made[0], counts=True)


def _shown(version: Version, counts: bool) -> wire.Version:
    said: dict[str, Any] = {name: version.info.get(name) for name in ("model", "result")}
    return wire.Version(
        id=version.id,
        tag=version.tag,
        made_by=version.made_by,
        source=version.source,
        time=version.time,
        seconds=version.seconds,
        bytes=version.bytes,
        sha256=version.sha256,
        counts=counts,
        looked_at=kept_looked_at(version.info),
        verified=list(kept_verified(version.info)) or None,
        review=shown_review(version.info),
        **{name: value if isinstance(value, str) else None for name, value in said.items()},
    )
