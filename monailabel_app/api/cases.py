"""The work list: every case with its status, score and lease, and taking one by its name."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from monailabel_app.api.audit import audit, caller
from monailabel_app.api.auth import LOCAL, acting_as
from monailabel_app.api.instance import AppInstance
from monailabel_app.api.ownership import is_admin
from monailabel_app.app.worklist import work_list
from uncertaintyseg import wire

router = APIRouter(tags=["Uncertainty"])
_CASES = "/uncertainty/v1/cases"

Image = Annotated[str, Path(description="Image id.")]
ClientId = Annotated[str | None, Query(description="Who asks, where nobody logs in.")]


@router.get(_CASES, summary="All cases, with status, score and lease")
def cases(
    app: AppInstance,
    model: Annotated[str | None, Query(description="Whose scores; by default the one that has scored most.")] = None,
    client_id: ClientId = None,
) -> wire.CaseList:
    """In the order of their ids; 404 for an unknown model."""
    return wire.CaseList(cases=work_list(app, model, acting_as(client_id)), skipped=app.datastore().skipped())


@router.post(f"{_CASES}/{{image}}/lease", summary="Take a case by its name")
def take(image: Image, asked: wire.LeaseRequest, app: AppInstance) -> wire.Lease:
    """Others do not get it meanwhile; asked again it lasts longer. What the annotator had before is free again.

    409 when somebody else has it; the message says who and until when.
    """
    annotator = acting_as(asked.client_id)
    with app.datastore().transaction():
        until = app.assignments.hold(image, annotator, asked.minutes)
        audit("take", case=image)
    return wire.Lease(annotator=annotator, until=until, mine=True)


@router.delete(f"{_CASES}/{{image}}/lease", status_code=204, summary="Give a case back")
def give_back(image: Image, app: AppInstance, client_id: ClientId = None) -> None:
    """409 when it is somebody else's, unless an admin says so."""
    with app.datastore().transaction():
        app.assignments.give_back(image, acting_as(client_id), force=is_admin() and caller.get()[0] != LOCAL)
        audit("give_back", case=image)
