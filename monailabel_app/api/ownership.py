"""Who may change what somebody made: jobs, leases and drafts are their owners' and the admins'.

Where nobody logs in everybody is the one local admin, and nothing here is refused.
"""

from __future__ import annotations

from collections.abc import Collection

from monailabel_app.api.audit import audit, caller
from monailabel_app.api.auth import LOCAL
from monailabel_app.app import UncertaintySegApp
from monailabel_app.app.assignments import clock
from monailabel_app.app.datastore import SHARED
from monailabel_app.errors import ForbiddenError, TakenError
from monailabel_app.jobs import ENDED, Job
from uncertaintyseg.tokens import Role


def is_admin() -> bool:
    """Whether the caller logged in as an admin, or nobody logs in."""
    return caller.get()[0].role is Role.admin


def check_own(owners: Collection[str], what: str) -> None:
    """Raise `ForbiddenError` unless the caller is one of the owners, or an admin."""
    name = caller.get()[0].name
    if not is_admin() and name not in owners:
        raise ForbiddenError(f"{what} belongs to {', '.join(sorted(owners)) or 'nobody here'}, not to {name}")


def is_own(job: Job) -> bool:
    """Whether the caller may cancel a job."""
    return is_admin() or caller.get()[0].name in job.owners


def cancel_own(app: UncertaintySegApp, job: Job) -> None:
    """Cancel a job for its owner; where others asked for the same, it goes on for them.

    Raises:
        ForbiddenError: It is somebody else's.
    """
    if job.state in ENDED:
        return
    check_own(job.owners, f"the {job.kind} job {job.id}")
    audit("cancel", job=job.id, kind=job.kind, model=job.model, owners=sorted(job.owners))
    job.owners.discard(caller.get()[0].name)
    if is_admin() or not job.owners:
        app.queue.cancel(job.id)


def others_claim(app: UncertaintySegApp, image: str, tag: str, *, draft: bool = True) -> str | None:
    """Why a label is somebody else's to save: they have the case, or it is their draft; None where it is free.

    Without `draft` whose draft it is does not matter: a reviewer reviews those of others.
    """
    identity = caller.get()[0]
    if identity == LOCAL:
        return None
    held = app.assignments.held().get(image)
    if held is not None and held.annotator != identity.name:
        return f"{held.annotator} has {image!r} until {clock(held.until)}"
    if not draft:
        return None
    label = None if tag in SHARED else app.datastore().store.label(image, tag)
    if label is not None and label.version.made_by not in ("", identity.name):
        return f"the label {tag!r} of {image!r} is a draft of {label.version.made_by}"
    return None


def refuse_others(app: UncertaintySegApp, image: str, tag: str, *, draft: bool = True) -> None:
    """Raise `TakenError` where a label is somebody else's to change; see `others_claim`."""
    if reason := others_claim(app, image, tag, draft=draft):
        raise TakenError(f"{reason}: nothing was changed")
