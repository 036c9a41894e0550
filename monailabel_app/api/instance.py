"""The one app of this process, for routes that need it."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from monailabel.interfaces.utils.app import app_instance

from monailabel_app.app import UncertaintySegApp


def running_app() -> UncertaintySegApp:
    """Return the app that MONAI Label made at start."""
    return app_instance()


AppInstance = Annotated[UncertaintySegApp, Depends(running_app)]
