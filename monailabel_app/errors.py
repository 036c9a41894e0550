"""Errors that only a server meets, beside those of `uncertaintyseg.errors`."""

from __future__ import annotations

from monailabel_app.folders import without_folders
from uncertaintyseg.errors import InputError, UncertaintySegError

_AWAY = (
    "the studies folder is away (not mounted, renamed or emptied): nothing is lost, and nothing is saved until it is "
    "back. Tell whoever runs the server"
)


class NotFoundError(InputError):
    """A model, image, job, result or map that this server does not have (404)."""


class ForbiddenError(UncertaintySegError):
    """The person's role does not cover this (403)."""


class TooLargeError(InputError):
    """An upload that would take more memory or disk than a request may (413)."""


class UnavailableError(UncertaintySegError):
    """A stock MONAI Label function that this version does not offer (405)."""


class JobCancelledError(UncertaintySegError):
    """Somebody cancelled the job that this request waited for (409)."""


class TakenError(UncertaintySegError):
    """Somebody else is at this case (409)."""


class WorkerLostError(UncertaintySegError):
    """The worker process died under a job, most often for want of memory (503)."""


class DeviceFailedError(WorkerLostError):
    """A device does not compute any more, whatever it is given (503)."""


class NoRoomError(DeviceFailedError):
    """Others have all that work needs where it was to be done (503)."""


class ModelAwayError(WorkerLostError):
    """A model is not where the work was to be done, or is another there (503)."""


class StudiesAwayError(UncertaintySegError):
    """The studies folder is not where it was: an unmounted share, a folder that was renamed (503)."""

    def __init__(self, message: str = _AWAY) -> None:
        super().__init__(message)


class DicomWebError(UncertaintySegError):
    """The DICOMweb server behind the studies cannot be reached, or refuses (502)."""


def told(error: BaseException) -> str:
    """What a client is told of an error: without the server's folders, and of a bug nothing but its kind."""
    if isinstance(error, UncertaintySegError):
        return without_folders(str(error))
    return f"a bug in the server ({type(error).__name__}); its log has the details"
