"""Several readers of one case: whose labels there are, and where they differ."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Path, Response

from monailabel_app.api.instance import AppInstance
from monailabel_app.api.uncertainty import volume
from monailabel_app.app.readings import ROUTE
from uncertaintyseg import wire
from uncertaintyseg.review.readers import DISAGREEMENT

router = APIRouter(tags=["Uncertainty"])

Image = Annotated[str, Path(description="Image id.")]
Numbers = Annotated[str, Path(description="Ids of versions, with - between.", max_length=2000)]


@router.get(ROUTE, summary="Who has labelled a case, and where they differ")
def readers(image: Image, app: AppInstance) -> wire.Readings:
    """Of each person the newest final label that they saved; with fewer than two `reason` says so. 404 as ever."""
    return app.readings.of(image)


@router.get(
    f"{ROUTE}/{{numbers}}/{DISAGREEMENT}.nii.gz", summary="Where versions differ, as a map", response_class=Response
)
def disagreement_map(
    image: Image, numbers: Numbers, app: AppInstance, if_none_match: Annotated[str | None, Header()] = None
) -> Response:
    """On the scan's grid, uint16 with `scl_slope`; 400 where they cannot be compared."""
    return volume(app.readings.map_bytes(image, numbers), if_none_match)
