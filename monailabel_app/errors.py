"""Errors that only a server meets, beside those of `uncertaintyseg.errors`."""

from __future__ import annotations

from uncertaintyseg.errors import InputError, UncertaintySegError


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


class DicomWebError(UncertaintySegError):
    """The DICOMweb server behind the studies cannot be reached, or refuses (502)."""
