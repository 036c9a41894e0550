"""Models: what is known of each, and older weights put back into use."""

from __future__ import annotations

from fastapi import APIRouter

from monailabel_app.api.audit import audit
from monailabel_app.api.instance import AppInstance
from uncertaintyseg import wire

router = APIRouter(prefix="/uncertainty/v1/models", tags=["Uncertainty"])


@router.get("", summary="All models")
def models(app: AppInstance) -> list[wire.Model]:
    """By name."""
    return [app.describe_model(name) for name in sorted(app.models)]


@router.get("/{name}", summary="One model")
def model(name: str, app: AppInstance) -> wire.Model:
    """Head, labels, weights, versions and calibration."""
    return app.describe_model(name)


@router.post("/{name}/restore", summary="Put an older version of the weights back into use")
def restore(name: str, request: wire.RestoreRequest, app: AppInstance) -> wire.Model:
    """Answer with the model as it is then; 400 for a version that it does not have."""
    restored = app.restore_model(name, request.version)
    audit("restore", model=name, version=request.version)
    return restored
